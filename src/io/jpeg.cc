// Decodes JPEG with libjpeg-turbo, to grey or RGB. CMYK and truncated files are refused.
#include "io/jpeg.h"

#include <turbojpeg.h>

#include <memory>

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead::io {
namespace {

struct Destroy {
  void operator()(void* decoder) const { tjDestroy(decoder); }
};

using Decoder = std::unique_ptr<void, Destroy>;

Image read_header(const Decoder& decoder, std::string_view bytes, const std::string& where, int64_t most_pixels) {
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  int width = 0, height = 0, sampling = 0, colours = 0;
  if (!decoder || tjDecompressHeader3(decoder.get(), data, bytes.size(), &width, &height, &sampling, &colours) != 0) {
    fail(ErrorCode::kFormat, "{}: damaged JPEG: {}", where, tjGetErrorStr2(decoder.get()));
  }
  if (colours == TJCS_CMYK || colours == TJCS_YCCK)
    fail(ErrorCode::kFormat, "{}: CMYK JPEG files are not supported; convert it to RGB or greyscale", where);
  check_pixels(width, height, where, most_pixels);
  return {width, height, sampling == TJSAMP_GRAY ? 1 : 3, {}};
}

}  // namespace

Shape jpeg_shape(std::string_view bytes, const std::string& where, int64_t most_pixels) {
  const Image image = read_header(Decoder(tjInitDecompress()), bytes, where, most_pixels);
  return {image.channels, image.height, image.width};
}

Image decode_jpeg(std::string_view bytes, const std::string& where, int64_t most_pixels) {
  const Decoder decoder(tjInitDecompress());
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  Image image = read_header(decoder, bytes, where, most_pixels);
  const int width = static_cast<int>(image.width), height = static_cast<int>(image.height);
  image.pixels.resize(static_cast<size_t>(image.width * image.height * image.channels));
  // Warnings are errors here: libjpeg-turbo fills the missing part of a truncated file with grey and returns -1.
  if (tjDecompress2(decoder.get(), data, bytes.size(), image.pixels.data(), width, 0, height, image.channels == 1 ? TJPF_GRAY : TJPF_RGB,
                    TJFLAG_ACCURATEDCT) != 0) {
    fail(ErrorCode::kFormat, "{}: damaged JPEG: {}", where, tjGetErrorStr2(decoder.get()));
  }
  return image;
}

}  // namespace clearhead::io
