// UTF-8 as bytes: where it stops being valid. Decoding for text lives in the text room.
#pragma once

#include <cstddef>
#include <string_view>

namespace clearhead {

/// Length of the longest prefix that is valid UTF-8 (no overlong forms, no surrogates, nothing above U+10FFFF); bytes.size() if all is.
size_t valid_utf8_prefix(std::string_view bytes);

}  // namespace clearhead
