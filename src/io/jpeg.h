// JPEG decoding.
#pragma once

#include <string>
#include <string_view>

#include "io/image.h"

namespace clearhead::io {

/// Decodes a JPEG file to 1 or 3 channels. Throws, naming `where`, kFormat for damaged and CMYK files, kBudget for more
/// than most_pixels pixels.
Image decode_jpeg(std::string_view bytes, const std::string& where, int64_t most_pixels);
/// [channels, height, width] that decode_jpeg would return, from the header alone. Throws the same.
Shape jpeg_shape(std::string_view bytes, const std::string& where, int64_t most_pixels);

}  // namespace clearhead::io
