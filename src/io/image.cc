// PNG or JPEG by the first bytes, as f32 [channel, height, width] in 0 … 1.
#include "io/image.h"

#include "base/file.h"
#include "base/format.h"
#include "clearhead/error.h"
#include "io/jpeg.h"
#include "io/png.h"

namespace clearhead {
namespace {

Image decode(std::string_view bytes, const std::string& where, int64_t most_pixels) {
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return decode_png(bytes, where, most_pixels);
  if (bytes.starts_with("\xff\xd8\xff")) return decode_jpeg(bytes, where, most_pixels);
  fail(ErrorCode::kFormat, "{}: neither PNG nor JPEG by its first bytes; convert it to one of these", where);
}

}  // namespace

void check_pixels(int64_t width, int64_t height, const std::string& where, int64_t most_pixels) {
  if (width > 0 && height > most_pixels / width) {
    fail(ErrorCode::kBudget, "{}: a picture of {} × {} pixels; at most {} are read", where, width, height, with_commas(most_pixels));
  }
}

Tensor image_from(std::string_view bytes, const std::string& where, int64_t most_pixels) {
  const Image image = decode(bytes, where, most_pixels);
  const int64_t pixels = image.width * image.height, channels = image.channels;
  Tensor out = Tensor::empty({channels, image.height, image.width});
  float* to = out.mutable_data<float>();
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t i = 0; i < pixels; ++i) to[c * pixels + i] = static_cast<float>(image.pixels[static_cast<size_t>(i * channels + c)]) / 255;
  }
  return out;
}

Tensor read_image(const std::string& path) { return image_from(MappedFile::open(path)->bytes(), path); }

}  // namespace clearhead
