// Pictures as bytes, and decoding of untrusted files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/data.h"

namespace clearhead::io {

struct Image {
  int64_t width = 0, height = 0;
  /// 1: grey; 3: RGB; 4: RGB and straight (not premultiplied) alpha, written only.
  int channels = 4;
  std::vector<uint8_t> pixels;  // [height, width, channels], sRGB
};

/// A picture needs 16 bytes per pixel while it is decoded and 12 afterwards: 2²⁶ pixels (8,192 × 8,192) need 1 GiB.
inline constexpr int64_t kMostPixels = int64_t{1} << 26;

/// As read_image, from the bytes of a file; `where` names them in error messages.
Tensor image_from(std::string_view bytes, const std::string& where, int64_t most_pixels = kMostPixels);
/// [channels, height, width] as read_image would return, from the header alone. Throws kFormat, and kBudget for more than
/// most_pixels pixels.
Shape image_shape(std::string_view bytes, const std::string& where, int64_t most_pixels = kMostPixels);

/// Call before allocating. Throws kBudget, naming `where`, for more than most_pixels pixels.
void check_pixels(int64_t width, int64_t height, const std::string& where, int64_t most_pixels);

}  // namespace clearhead::io
