// Printable Latin-1 characters are spelled as themselves; the other 68 bytes as U+0100, U+0101, … in ascending order.
#include "text/byte_alphabet.h"

namespace clearhead::text {
namespace {

struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<int16_t, 0x180> byte{};
  Alphabet() {
    byte.fill(-1);
    char32_t next = 256;
    for (char32_t b = 0; b < 256; ++b) {
      const bool is_printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      character[b] = is_printable ? b : next++;
      byte[character[b]] = static_cast<int16_t>(b);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet table;
  return table;
}

}  // namespace

char32_t spelled(unsigned char byte) { return alphabet().character[byte]; }

int byte_of(char32_t c) { return c < 0x180 ? alphabet().byte[c] : -1; }

std::optional<std::string> bytes_of(std::string_view token) {
  std::string out;
  for (size_t at = 0; at < token.size();) {
    const Decoded decoded = decode_valid(token, at);
    const int byte = byte_of(decoded.c);
    if (byte < 0) return std::nullopt;
    out.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
    at += decoded.length;
  }
  return out;
}

void spell_bytes(Aligned& text) {
  const std::string_view bytes = text.bytes();
  std::vector<Change> changes;
  changes.reserve(bytes.size());
  for (const char c : bytes) {
    const unsigned char byte = static_cast<unsigned char>(c);
    changes.push_back({spelled(byte), (byte & 0xC0) == 0x80});
  }
  text.transform(changes);
}

}  // namespace clearhead::text
