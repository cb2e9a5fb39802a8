// Bytes of UTF-8: validation and the boundaries of characters. Decoding is in src/text.
#pragma once

#include <cstddef>
#include <string_view>

namespace clearhead {

/// Length of the longest prefix that is valid UTF-8 (no overlong forms, no surrogates, nothing above U+10FFFF);
/// bytes.size() if all of it is valid.
size_t valid_utf8_prefix(std::string_view bytes);

/// True for the second and later bytes of a character of valid UTF-8.
inline bool continues_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

}  // namespace clearhead
