// Pictures from strangers' bytes.
#pragma once

#include <string>
#include <string_view>

#include "clearhead/data.h"

namespace clearhead {

/// As read_image, of a file's bytes; `where` names them in errors.
Tensor image_from(std::string_view bytes, const std::string& where, int64_t most_pixels = int64_t{1} << 28);

}  // namespace clearhead
