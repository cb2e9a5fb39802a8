// Numbers in texts such as the cells of a table.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace clearhead {

/// The whole number that a text consists of; nothing for any other text, such as "", "+1", " 1" or "1.0", and beyond 64 bits.
inline std::optional<int64_t> whole_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// The decimal number that a text begins with, and the number of characters that it takes; nothing if the text begins otherwise, for
/// example with a space or "+", and for a number that f64 does not hold.
struct LeadingNumber {
  double value = 0;
  size_t length = 0;
};
std::optional<LeadingNumber> leading_number(std::string_view text);

/// The number with the fewest decimal digits that rounds to this f32 number: "0.1" instead of "0.10000000149".
std::string shortest_text(float value);

}  // namespace clearhead
