// Base64 encoding and decoding (RFC 4648, section 4).
#pragma once

#include <string>
#include <string_view>

namespace clearhead {

std::string base64(std::string_view bytes);
/// Decodes base64. Throws kFormat for text that does not consist of complete groups of four letters; the message begins
/// with `where`.
std::string from_base64(std::string_view letters, std::string_view where);

}  // namespace clearhead
