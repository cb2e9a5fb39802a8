// Numbers in texts such as the cells of a table.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace clearhead {

/// The whole number that a text consists of; nothing for any other text, such as "", "+1", " 1" or "1.0", and beyond 64 bits.
inline std::optional<int64_t> whole_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace clearhead
