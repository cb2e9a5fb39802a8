// std::from_chars and std::to_chars; where the standard library lacks them for floating-point numbers (libc++ 13), strtod and libfmt.
#include "base/number.h"

#include <cctype>
#include <cmath>
#include <cstdlib>

#include "base/format.h"

namespace clearhead {

std::optional<LeadingNumber> leading_number(std::string_view text) {
#ifdef __cpp_lib_to_chars
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return LeadingNumber{value, static_cast<size_t>(end - text.data())};
#else
  std::string begins(text.substr(0, text.find_first_of("xXpP")));  // strtod reads hexadecimal numbers
  if (begins.empty() || begins[0] == '+' || std::isspace(static_cast<unsigned char>(begins[0]))) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(begins.c_str(), &end);
  if (end == begins.c_str() || std::abs(value) == HUGE_VAL) return std::nullopt;
  return LeadingNumber{value, static_cast<size_t>(end - begins.c_str())};
#endif
}

std::string shortest_text(float value) {
#ifdef __cpp_lib_to_chars
  char text[32];
  const auto written = std::to_chars(text, text + sizeof text, value);
  return {text, written.ptr};
#else
  constexpr int kEnough = 9;  // decimal digits that tell any two f32 numbers apart
  for (int digits = 1;; ++digits) {
    std::string text = format("{:.{}g}", value, digits);
    if (digits == kEnough || std::strtof(text.c_str(), nullptr) == value) return text;
  }
#endif
}

}  // namespace clearhead
