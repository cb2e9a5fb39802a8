// Validates UTF-8 by the ranges of the first two bytes of each sequence (Unicode 15, table 3-7).
#include "base/utf8.h"

#include <cstdint>
#include <cstring>

namespace clearhead {
namespace {

// Length of the well-formed sequence at `at`, or 0. The range of the second byte excludes overlong forms, surrogates and
// code points above U+10FFFF (Unicode 15, table 3-7).
size_t sequence_length(const unsigned char* at, size_t left) {
  const unsigned char lead = at[0];
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (left < length) return 0;
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (at[1] < low || at[1] > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((at[i] & 0xC0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

size_t valid_utf8_prefix(std::string_view bytes) {
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  size_t at = 0;
  while (at < bytes.size()) {
    uint64_t eight = 0;
    if (bytes.size() - at >= sizeof eight) {  // most headers are ASCII: check eight bytes at a time
      std::memcpy(&eight, data + at, sizeof eight);
      if ((eight & 0x8080808080808080ull) == 0) {
        at += sizeof eight;
        continue;
      }
    }
    const size_t length = sequence_length(data + at, bytes.size() - at);
    if (length == 0) return at;
    at += length;
  }
  return at;
}

}  // namespace clearhead
