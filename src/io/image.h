// Pictures as bytes, and from strangers' files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/data.h"

namespace clearhead {

struct Image {
  int64_t width = 0, height = 0;
  int channels = 4;             ///< 1: grey, only read; 3: RGB; 4: RGB and straight (not premultiplied) alpha, only written
  std::vector<uint8_t> pixels;  // [height, width, channels]   sRGB
};

/// As read_image, of a file's bytes; `where` names them in errors.
Tensor image_from(std::string_view bytes, const std::string& where, int64_t most_pixels = int64_t{1} << 28);

/// Before memory is asked for. Throws kBudget, naming `where`, for a picture of more than most_pixels.
void check_pixels(int64_t width, int64_t height, const std::string& where, int64_t most_pixels);

}  // namespace clearhead
