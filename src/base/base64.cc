// Three bytes become four letters; the last group is padded with =.
#include "base/base64.h"

#include <array>
#include <cstdint>

#include "base/format.h"

namespace clearhead {

static constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t three = 0;
    for (size_t i = 0; i < 3; ++i) three = three << 8 | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0u);
    for (size_t i = 0; i < 4; ++i) out += at + i <= bytes.size() ? kLetters[three >> (18 - 6 * i) & 63] : '=';
  }
  return out;
}

std::string from_base64(std::string_view letters, std::string_view where) {
  static const std::array<int8_t, 256> values = [] {
    std::array<int8_t, 256> all;
    all.fill(-1);
    for (size_t at = 0; at < kLetters.size(); ++at) all[static_cast<unsigned char>(kLetters[at])] = static_cast<int8_t>(at);
    return all;
  }();
  if (letters.size() % 4 != 0) fail(ErrorCode::kFormat, "{}: {} characters of base64; expected a multiple of 4", where, letters.size());
  std::string out;
  out.reserve(letters.size() / 4 * 3);
  for (size_t at = 0; at < letters.size(); at += 4) {
    size_t count = 4;  // letters before the =
    if (at + 4 == letters.size()) count -= letters[at + 2] == '=' && letters[at + 3] == '=' ? 2 : letters[at + 3] == '=' ? 1 : 0;
    uint32_t three = 0;
    for (size_t i = 0; i < 4; ++i) {
      const int8_t value = i < count ? values[static_cast<unsigned char>(letters[at + i])] : int8_t{0};
      if (value < 0) fail(ErrorCode::kFormat, "{}: the character at index {} is not valid base64", where, at + i);
      three = three << 6 | static_cast<uint32_t>(value);
    }
    for (size_t i = 0; i + 1 < count; ++i) out += static_cast<char>(three >> (16 - 8 * i) & 255);
  }
  return out;
}

}  // namespace clearhead
