// Pictures from strangers' bytes.
#pragma once

#include <string>
#include <string_view>

#include "clearhead/data.h"

namespace clearhead {

/// As read_image, of a file's bytes; `where` names them in errors.
Tensor image_from(std::string_view bytes, const std::string& where, int64_t most_pixels = int64_t{1} << 28);

/// Before memory is asked for. Throws kBudget, naming `where`, for a picture of more than most_pixels.
void check_pixels(int64_t width, int64_t height, const std::string& where, int64_t most_pixels);

}  // namespace clearhead
