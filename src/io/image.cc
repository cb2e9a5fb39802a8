// Decodes PNG and JPEG files, recognised by their first bytes, to f32 [channel, height, width] in 0 … 1.
#include "io/image.h"

#include <limits>
#include <memory>

#include "base/file.h"
#include "base/format.h"
#include "clearhead/error.h"
#include "io/jpeg.h"
#include "io/png.h"

namespace clearhead::io {
namespace {

struct Format {
  std::string_view first_bytes;
  Image (*decode)(std::string_view bytes, const std::string& where, int64_t most_pixels);
  Shape (*shape)(std::string_view bytes, const std::string& where, int64_t most_pixels);
};
constexpr Format kFormats[] = {{"\x89PNG\r\n\x1a\n", decode_png, png_shape}, {"\xff\xd8\xff", decode_jpeg, jpeg_shape}};

const Format& format_of(std::string_view bytes, const std::string& where) {
  for (const Format& one : kFormats) {
    if (bytes.starts_with(one.first_bytes)) return one;
  }
  fail(ErrorCode::kFormat, "{}: the first bytes are neither those of a PNG nor of a JPEG file; convert it to one of these formats", where);
}

}  // namespace

void check_pixels(int64_t width, int64_t height, const std::string& where, int64_t most_pixels) {
  if (width > 0 && height > most_pixels / width) {
    fail(ErrorCode::kBudget, "{}: the picture has {} × {} pixels, but at most {} pixels are supported; resize it", where, width, height,
         with_commas(most_pixels));
  }
}

Tensor image_from(std::string_view bytes, const std::string& where, int64_t most_pixels) {
  const Image image = format_of(bytes, where).decode(bytes, where, most_pixels);
  const int64_t pixels = image.width * image.height, channels = image.channels;
  Tensor out = Tensor::empty({channels, image.height, image.width});
  float* to = out.mutable_data<float>();
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t i = 0; i < pixels; ++i) to[c * pixels + i] = static_cast<float>(image.pixels[static_cast<size_t>(i * channels + c)]) / 255;
  }
  return out;
}

Shape image_shape(std::string_view bytes, const std::string& where, int64_t most_pixels) {
  return format_of(bytes, where).shape(bytes, where, most_pixels);
}

}  // namespace clearhead::io

namespace clearhead {

Tensor read_image(const std::string& path) { return io::image_from(MappedFile::open(path)->bytes(), path); }

Tensor read_image(const std::string& path, const Shape& size) {
  const std::shared_ptr<MappedFile> file = MappedFile::open(path);
  const Shape is = io::image_shape(file->bytes(), path, std::numeric_limits<int64_t>::max());
  if (is[1] != size[1] || is[2] != size[2] || (is[0] != size[0] && is[0] != 1)) {
    fail(ErrorCode::kShape, "{}: the picture has {} × {} pixels (channels: {}); expected {} × {} (channels: {})", path, is[2], is[1], is[0],
         size[2], size[1], size[0]);
  }
  const Tensor image = io::image_from(file->bytes(), path);
  return image.size(0) == size[0] ? image : image.expand(size).contiguous();
}

}  // namespace clearhead
