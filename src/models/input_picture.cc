// Resizes, checks and encodes pictures, and describes their patches.
#include "models/input_picture.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/file.h"
#include "base/format.h"
#include "base/json.h"
#include "clearhead/data.h"
#include "clearhead/error.h"
#include "io/image.h"
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

template <class Value>
Value named_value(Fields& config, const char* field, const std::vector<std::pair<std::string, Value>>& values) {
  std::vector<std::string> names;
  for (const auto& [name, value] : values) names.push_back(name);
  const std::string chosen = choice_of(config, field, names);
  return values[static_cast<size_t>(std::find(names.begin(), names.end(), chosen) - names.begin())].second;
}

template <class Value>
std::string name_of(Value value, const std::vector<std::pair<std::string, Value>>& values) {
  return std::find_if(values.begin(), values.end(), [&](const auto& known) { return known.second == value; })->first;
}

std::string sizes_of(const PictureFacts& facts) {
  return format("{} × {} pixels, channels: {}", facts.width, facts.height, facts.channels);
}

// Resizes a picture as the facts say, and repeats a grey one in all channels. Null if it cannot be read.
Tensor in_size(const PictureFacts& facts, const Tensor& picture) {
  if (picture.rank() != 3 || picture.dtype() != DType::kF32 || picture.numel() == 0) return {};
  if (picture.size(0) != facts.channels && picture.size(0) != 1) return {};
  Tensor sized = picture;
  if (picture.size(1) != facts.height || picture.size(2) != facts.width) {
    if (facts.resize == PictureResize::kNone) return {};
    const auto resized = facts.resize == PictureResize::kFit ? fit_image : resize_image;
    sized = resized(picture, facts.height, facts.width, facts.resample);
  }
  return sized.expand({facts.channels, facts.height, facts.width}).contiguous();
}

}  // namespace

const std::vector<std::pair<std::string, PictureResize>>& resize_names() {
  static const std::vector<std::pair<std::string, PictureResize>> names = {
      {"none", PictureResize::kNone}, {"stretch", PictureResize::kStretch}, {"fit", PictureResize::kFit}};
  return names;
}

const std::vector<std::pair<std::string, Resampling>>& resampling_names() {
  static const std::vector<std::pair<std::string, Resampling>> names = {{"bilinear", Resampling::kBilinear}, {"box", Resampling::kBox}};
  return names;
}

PictureFacts read_picture_facts(Fields& config) {
  PictureFacts out{.channels = size_of(config, "num_channels", 4)};
  constexpr int64_t kLongestSide = 4096;
  if (const Json& size = config.require("image_size"); size.is_array()) {
    const auto is_side = [](const Json& side) { return side.is_integer() && side.integer() >= 1 && side.integer() <= kLongestSide; };
    if (size.size() != 2 || !is_side(size.items()[0]) || !is_side(size.items()[1]))
      config.wrong("image_size", format("a side, or [height, width], of 1 to {} pixels", kLongestSide), size);
    out.height = size.items()[0].integer();
    out.width = size.items()[1].integer();
  } else {
    out.height = out.width = size_of(config, "image_size", kLongestSide);
  }
  out.patch = size_of(config, "patch_size", kLongestSide);
  if (out.height % out.patch != 0 || out.width % out.patch != 0)
    config.wrong("patch_size", format("a divisor of {} and {}, the picture's height and width", out.height, out.width), Json(out.patch));
  out.resize = named_value(config, "resize", resize_names());
  out.resample = named_value(config, "resample", resampling_names());
  return out;
}

void write_resize(const PictureFacts& facts, Json& config) {
  if (facts.resize == PictureResize::kNone) return;
  config["resize"] = name_of(facts.resize, resize_names());
  config["resample"] = name_of(facts.resample, resampling_names());
}

void read_picture_config(Fields& config, NetworkFacts& to) { to.picture = read_picture_facts(config); }

std::array<int64_t, 2> picture_size(const std::string& path) {
  const Shape shape = io::image_shape(MappedFile::open(path)->bytes(), path, std::numeric_limits<int64_t>::max());
  return {shape[1], shape[2]};
}

Tensor read_picture(const PictureFacts& facts, const std::string& path) {
  if (facts.resize == PictureResize::kNone) {
    const Shape is = io::image_shape(MappedFile::open(path)->bytes(), path, std::numeric_limits<int64_t>::max());
    if (is[1] != facts.height || is[2] != facts.width) {
      fail(ErrorCode::kShape,
           "{}: the picture has {} × {} pixels (channels: {}); expected {}. Resize it, or train a model with \"resize\" in "
           "\"task.pictures\" "
           "(stretch or fit)",
           path, is[2], is[1], is[0], sizes_of(facts));
    }
    return read_image(path, {facts.channels, facts.height, facts.width});
  }
  const Tensor picture = read_image(path), out = in_size(facts, picture);
  if (!out.defined()) {
    fail(ErrorCode::kShape, "{}: the picture has {} channels; the model expects {} (\"num_channels\")", path, picture.size(0),
         facts.channels);
  }
  return out;
}

Tensor read_picture(const ModelInfo& info, const std::string& path) {
  const std::string where = info.directory + "/config.json";
  const Json config = Json::parse(read_config(where), where);
  Fields fields(config, where);
  return read_picture(read_picture_facts(fields), path);
}

PictureScale picture_scale(const PictureFacts& facts, int64_t height, int64_t width) {
  const auto of = [](int64_t to, int64_t from) { return static_cast<double>(to) / static_cast<double>(from); };
  if (facts.resize != PictureResize::kFit) return {of(facts.width, width), of(facts.height, height)};
  const double scale = std::min(of(facts.height, height), of(facts.width, width));
  // The sides and offsets of fit_image().
  const auto side = [&](int64_t from) { return std::max<int64_t>(1, std::llrint(static_cast<double>(from) * scale)); };
  const auto offset = [](int64_t all, int64_t inner) { return static_cast<double>(std::llrint(static_cast<double>(all - inner) / 2)); };
  return {of(side(width), width), of(side(height), height), offset(facts.width, side(width)), offset(facts.height, side(height))};
}

EncodedSide encode_picture(const NetworkFacts& facts, const Tensor& picture) {
  if (!picture.defined()) fail(ErrorCode::kInvalidArgument, "this model reads a picture, but the input has none (ModelInput::picture)");
  const Tensor values = picture.contiguous();
  if (!std::all_of(values.data<float>(), values.data<float>() + values.numel(), [](float value) { return std::isfinite(value); }))
    fail(ErrorCode::kInvalidArgument, "the picture has pixels that are NaN or infinite; expected numbers from 0 to 1");
  const PictureFacts& of = facts.picture;
  if (Tensor sized = in_size(of, values); sized.defined()) return {.features = std::move(sized)};
  fail(ErrorCode::kShape, "the picture is {}; this model reads [channels, height, width] = [{}, {}, {}]", to_string(picture.shape()),
       of.channels, of.height, of.width);
}

void mask_patch(const NetworkFacts& network, int64_t patch, const Tensor& read, Tensor& picture) {
  const PictureFacts& facts = network.picture;
  const int64_t row = patch / facts.columns() * facts.patch, column = patch % facts.columns() * facts.patch;
  for (int64_t channel = 0; channel < facts.channels; ++channel) {
    float* values = picture.mutable_data<float>() + channel * facts.height * facts.width;
    const float* from = read.data<float>() + channel * facts.height * facts.width;
    const float mean = std::accumulate(from, from + facts.height * facts.width, 0.0F) / static_cast<float>(facts.height * facts.width);
    for (int64_t y = row; y < row + facts.patch; ++y) std::fill_n(values + y * facts.width + column, facts.patch, mean);
  }
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
