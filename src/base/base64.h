// Bytes as letters (RFC 4648, section 4).
#pragma once

#include <string>
#include <string_view>

namespace clearhead {

std::string base64(std::string_view bytes);
/// The bytes. Throws kFormat, with `where` in front, for anything else than whole groups of four letters.
std::string from_base64(std::string_view letters, std::string_view where);

}  // namespace clearhead
