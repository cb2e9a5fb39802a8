// JPEG pictures, decoded.
#pragma once

#include <string>
#include <string_view>

#include "io/image.h"

namespace clearhead {

/// A picture of 1 or 3 channels from the bytes of a JPEG file. Throws kFormat, naming `where`, for damaged ones and those of four inks (CMYK), kBudget for more
/// than most_pixels.
Image decode_jpeg(std::string_view bytes, const std::string& where, int64_t most_pixels);

}  // namespace clearhead
