// Formatting by libfmt with type-erased arguments.
#include "base/format.h"

#include <fmt/args.h>
#include <fmt/format.h>

#include "base/utf8.h"

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

std::string one_line(std::string_view text) {
  constexpr size_t kHead = 1500, kTail = 500;
  std::string out;
  const auto append = [&out](std::string_view part) {
    while (!part.empty()) {
      const size_t valid = valid_utf8_prefix(part);
      for (const char c : part.substr(0, valid)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte != 0x7F) {
          out += c;
        } else {
          out += c == '\n' ? "\\n" : c == '\t' ? "\\t" : fmt::format("\\x{:02x}", byte);
        }
      }
      part.remove_prefix(valid);
      if (part.empty()) return;
      out += "\uFFFD";
      part.remove_prefix(1);
    }
  };
  if (text.size() <= kHead + kTail) {
    append(text);
    return out;
  }
  size_t head = kHead, tail = text.size() - kTail;  // moved to character boundaries below
  while (head > kHead - 3 && continues_character(text[head])) --head;
  while (tail < text.size() - kTail + 3 && continues_character(text[tail])) ++tail;
  append(text.substr(0, head));
  out += " \u2026 ";
  append(text.substr(tail));
  return out;
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
