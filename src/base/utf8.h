// UTF-8 validation. Decoding is in src/text.
#pragma once

#include <cstddef>
#include <string_view>

namespace clearhead {

/// Length of the longest prefix that is valid UTF-8 (no overlong forms, no surrogates, nothing above U+10FFFF);
/// bytes.size() if all of it is valid.
size_t valid_utf8_prefix(std::string_view bytes);

}  // namespace clearhead
