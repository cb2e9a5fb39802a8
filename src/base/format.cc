#include "base/format.h"

#include <fmt/args.h>
#include <fmt/format.h>

namespace clearhead {

std::string format_values(std::string_view pattern, const FormatValue* values, size_t count) {
  fmt::dynamic_format_arg_store<fmt::format_context> store;
  for (size_t i = 0; i < count; ++i) {
    std::visit([&](const auto& value) { store.push_back(value); }, values[i]);
  }
  try {
    return fmt::vformat(fmt::string_view(pattern.data(), pattern.size()), store);
  } catch (const fmt::format_error& error) {
    throw Error(ErrorCode::kInvalidArgument, "format pattern \"" + std::string(pattern) + "\": " + error.what());
  }
}

std::string with_commas(int64_t value) {
  std::string digits = std::to_string(value);
  const size_t first = value < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string human_bytes(uint64_t bytes) {
  if (bytes < 1024) return format("{} B", bytes);
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024.0;
  size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < std::size(kUnits)) {
    value /= 1024.0;
    ++unit;
  }
  return format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace clearhead
