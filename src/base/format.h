// Formats values as text in fmt's format language. This header is cheap to include.
//
//   format("{}: expected {} bytes, found {}", name, 8, found)
//
// Arguments are converted to one of five types (signed, unsigned, double, bool, text). Only format.cc includes libfmt.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "clearhead/error.h"

namespace clearhead {

using FormatValue = std::variant<int64_t, uint64_t, double, bool, std::string_view>;

template <class T>
FormatValue format_value(const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value;
  } else if constexpr (std::is_floating_point_v<T>) {
    return static_cast<double>(value);
  } else if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
    return static_cast<int64_t>(value);
  } else if constexpr (std::is_integral_v<T>) {
    return static_cast<uint64_t>(value);
  } else {
    return std::string_view(value);
  }
}

/// Formats `count` values with a format string of libfmt. Throws kInvalidArgument if the pattern does not fit the values.
std::string format_values(std::string_view pattern, const FormatValue* values, size_t count);

struct Formatter {
  template <class... Args>
  std::string operator()(std::string_view pattern, const Args&... args) const {
    if constexpr (sizeof...(Args) == 0) {
      return format_values(pattern, nullptr, 0);
    } else {
      const FormatValue values[] = {format_value(args)...};
      return format_values(pattern, values, sizeof...(Args));
    }
  }
};
/// An object instead of a function: a call of a function with an argument from namespace std would also find std::format.
inline constexpr Formatter format{};

/// Makes text of unknown origin suitable for an error message: one line of valid UTF-8. Control characters are escaped as
/// \n, \t or \x1b, and ill-formed bytes become U+FFFD. A text of more than 2,000 bytes loses its middle, because its end
/// often says what to do.
std::string one_line(std::string_view text);

/// Throws Error(code) with a formatted message, made one_line().
template <class... Args>
[[noreturn]] void fail(ErrorCode code, std::string_view pattern, const Args&... args) {
  throw Error(code, one_line(format(pattern, args...)));
}

/// An integer with thousands separators: 9214 → "9,214".
std::string with_commas(int64_t value);

/// A byte count in units: 1536 → "1.5 KiB".
std::string human_bytes(uint64_t bytes);

}  // namespace clearhead
