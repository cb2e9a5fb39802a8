// Escapes text for HTML and SVG, between tags and in attributes.
#pragma once

#include <string>
#include <string_view>

namespace clearhead {

inline std::string markup_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

}  // namespace clearhead
