// Checks and encodes pictures, and describes their patches.
#include "models/input_picture.h"

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/format.h"
#include "base/json.h"
#include "clearhead/data.h"
#include "clearhead/error.h"
#include "models/input_text.h"
#include "models/networks/networks.h"

namespace clearhead {
namespace {

// Converts f32 [channels, height, width] from 0 to 1 to u8 [height, width, 3].
Tensor as_bytes(const Tensor& picture) {
  const int64_t height = picture.size(1), width = picture.size(2);
  Tensor out = Tensor::empty({height, width, 3}, DType::kU8);
  auto* to = reinterpret_cast<uint8_t*>(out.mutable_raw());
  const Tensor dense = picture.contiguous();
  for (int64_t pixel = 0; pixel < height * width; ++pixel) {
    for (int64_t channel = 0; channel < 3; ++channel) {
      const float value = dense.data<float>()[std::min(channel, picture.size(0) - 1) * height * width + pixel];
      to[pixel * 3 + channel] = static_cast<uint8_t>(std::lround(std::clamp(value, 0.0F, 1.0F) * 255.0F));
    }
  }
  return out;
}

}  // namespace

PictureFacts read_picture_facts(Fields& config) {
  PictureFacts out{.channels = size_of(config, "num_channels", 4)};
  constexpr int64_t kMostPixels = 4096;
  if (const Json& size = config.require("image_size"); size.is_array()) {
    const auto is_side = [](const Json& side) { return side.is_integer() && side.integer() >= 1 && side.integer() <= kMostPixels; };
    if (size.size() != 2 || !is_side(size.items()[0]) || !is_side(size.items()[1]))
      config.wrong("image_size", format("a side, or [height, width], of 1 to {} pixels", kMostPixels), size);
    out.height = size.items()[0].integer();
    out.width = size.items()[1].integer();
  } else {
    out.height = out.width = size_of(config, "image_size", kMostPixels);
  }
  out.patch = size_of(config, "patch_size", kMostPixels);
  if (out.height % out.patch != 0 || out.width % out.patch != 0)
    config.wrong("patch_size", format("a divisor of {} and {}, the picture's sides", out.height, out.width), Json(out.patch));
  return out;
}

void read_picture_config(Fields& config, NetworkFacts& to) { to.picture = read_picture_facts(config); }

Tensor read_picture(const ModelInfo& info, const std::string& path) {
  const std::string where = info.directory + "/config.json";
  const Json config = Json::parse(read_config(where), where);
  Fields fields(config, where);
  const PictureFacts size = read_picture_facts(fields);
  return read_image(path, {size.channels, size.height, size.width});
}

EncodedSide encode_picture(const NetworkFacts& facts, const Tensor& picture) {
  const PictureFacts& of = facts.picture;
  if (!picture.defined()) fail(ErrorCode::kInvalidArgument, "there is no picture");
  const Tensor values = picture.contiguous();
  if (!std::all_of(values.data<float>(), values.data<float>() + values.numel(), [](float value) { return std::isfinite(value); }))
    fail(ErrorCode::kInvalidArgument, "the picture has pixels that are NaN or infinite; expected numbers from 0 to 1");
  if (picture.rank() == 3 && picture.size(1) == of.height && picture.size(2) == of.width) {
    if (picture.size(0) == of.channels) return {.features = picture.contiguous()};
    if (picture.size(0) == 1) return {.features = picture.expand({of.channels, of.height, of.width}).contiguous()};
  }
  fail(ErrorCode::kShape, "the picture is {}; this model reads {} of {} x {} pixels, [channels, height, width]", to_string(picture.shape()),
       of.channels == 1 ? "grey ones" : format("{} channels", of.channels), of.height, of.width);
}

void add_patches(RunText& to, const NetworkFacts& network, const Tensor& picture) {
  const PictureFacts& facts = network.picture;
  const auto begin = static_cast<int64_t>(to.ids.size());
  for (int64_t row = 0; row < facts.rows(); ++row) {
    for (int64_t column = 0; column < facts.columns(); ++column) add_item(to, format("patch {},{}", row + 1, column + 1));
  }
  to.items.push_back({.kind = "patch", .begin = begin, .end = begin + facts.patches(), .rows = facts.rows(), .picture = as_bytes(picture)});
}

}  // namespace clearhead
