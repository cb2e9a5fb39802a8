// Classifies every character as a space, part of a word, a word by itself, or an apostrophe. A token belongs to the word of its first
// byte that has one.
#include "viewer/words.h"

#include <algorithm>
#include <string_view>

namespace clearhead::viewer {
namespace {

enum class Letter : uint8_t { kSpace, kWord, kAlone, kApostrophe };

// Decodes one character of UTF-8; an ill-formed byte counts as one letter.
uint32_t decode_at(std::string_view text, size_t at, size_t& length) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text[i])); };
  const uint32_t lead = byte(at);
  length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
  if (length == 1) return lead < 0x80 ? lead : 0xFFFD;
  if (at + length > text.size()) {
    length = 1;
    return 0xFFFD;
  }
  uint32_t code = lead & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0u) != 0x80u) {
      length = 1;
      return 0xFFFD;
    }
    code = code << 6 | (byte(at + i) & 0x3Fu);
  }
  return code;
}

bool within(uint32_t code, uint32_t first, uint32_t last) { return code >= first && code <= last; }

Letter letter_of(uint32_t code) {
  if (code == ' ' || within(code, 0x09, 0x0D) || code == 0xA0 || code == 0x3000 || within(code, 0x2000, 0x200A) || code == 0x2028 ||
      code == 0x2029) {
    return Letter::kSpace;
  }
  if (code == '\'' || code == 0x2019) return Letter::kApostrophe;
  if (code < 0x80) {
    const bool word = within(code, '0', '9') || within(code, 'a', 'z') || within(code, 'A', 'Z') || code == '_';
    return word ? Letter::kWord : Letter::kAlone;
  }
  if (within(code, 0xA1, 0xBF) && code != 0xAA && code != 0xB5 && code != 0xBA) return Letter::kAlone;
  if (within(code, 0x2010, 0x206F) && code != 0x200D) return Letter::kAlone;  // joiners stay inside their word
  if (within(code, 0x3001, 0x30FF) || within(code, 0x3400, 0x4DBF) || within(code, 0x4E00, 0x9FFF) || within(code, 0xF900, 0xFAFF) ||
      within(code, 0xFF01, 0xFF0F) || within(code, 0xFF1A, 0xFF20) || within(code, 0x20000, 0x3FFFF)) {
    return Letter::kAlone;  // kana, ideographs, CJK and full-width marks
  }
  return Letter::kWord;
}

// The word of every byte, −1 for whitespace.
std::vector<int32_t> words_of_bytes(std::string_view text) {
  std::vector<int32_t> out(text.size(), -1);
  int32_t word = -1;
  Letter before = Letter::kSpace;
  for (size_t at = 0; at < text.size();) {
    size_t length = 1, next_length = 1;
    Letter letter = letter_of(decode_at(text, at, length));
    if (letter == Letter::kApostrophe) {
      const bool joins =
          before == Letter::kWord && at + length < text.size() && letter_of(decode_at(text, at + length, next_length)) == Letter::kWord;
      letter = joins ? Letter::kWord : Letter::kAlone;
    }
    if (letter != Letter::kSpace) {
      if (letter == Letter::kAlone || before != Letter::kWord) ++word;
      std::fill_n(out.begin() + static_cast<std::ptrdiff_t>(at), length, word);
    }
    before = letter;
    at += length;
  }
  return out;
}

}  // namespace

std::vector<int32_t> words_of(const RunText& text) {
  const std::vector<int32_t> bytes = words_of_bytes(text.text);
  std::vector<int32_t> out(text.ids.size(), -1);
  int32_t word = -1, last = -2;
  for (size_t i = 0; i < out.size(); ++i) {
    if (text.special[i] || static_cast<int64_t>(i) >= text.tokens()) {
      last = -2;
      continue;
    }
    const auto [begin, end] = text.offsets[i];
    int32_t own = -1;
    for (int64_t b = begin; b < end && own < 0; ++b) own = bytes[static_cast<size_t>(b)];
    // A token without text, such as an inserted "▁", belongs to the word that begins there.
    if (begin == end && static_cast<size_t>(begin) < bytes.size()) own = bytes[static_cast<size_t>(begin)];
    if (own < 0 || own != last) ++word;  // a token of whitespace is a word by itself
    last = own;
    out[i] = word;
  }
  return out;
}

bool is_without_text(const RunText& text, size_t id) {
  const auto [begin, end] = text.offsets[id];
  return begin == end && !text.special[id] && static_cast<int64_t>(id) < text.tokens();
}

}  // namespace clearhead::viewer
