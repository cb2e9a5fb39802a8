// Ranges of blocks; the categories inside them come from text/unicode.h.
#include "text/scripts.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "text/unicode.h"

namespace clearhead::text {
namespace {

constexpr uint16_t kPartOfWord = kLetter | kNumber | kCombiningMark;

template <size_t N>
bool is_within(const char32_t (&ranges)[N][2], char32_t c) {
  return std::any_of(std::begin(ranges), std::end(ranges), [c](const auto& range) { return c >= range[0] && c <= range[1]; });
}

}  // namespace

bool is_written_without_spaces(char32_t c) {
  constexpr char32_t kBlocks[][2] = {
      {0x0E00, 0x0EFF},    // Thai, Lao
      {0x0F00, 0x109F},    // Tibetan, Myanmar
      {0x1780, 0x17FF},    // Khmer
      {0x19E0, 0x19FF},    // Khmer symbols
      {0x2E80, 0x2FDF},    // radicals
      {0x3005, 0x3007},    // iteration mark, zero
      {0x3021, 0x3029},    // Hangzhou numerals
      {0x3040, 0x312F},    // kana, Bopomofo
      {0x31A0, 0x31BF},    // Bopomofo, extended
      {0x31F0, 0x31FF},    // Katakana, phonetic extensions
      {0x3400, 0x4DBF},    // Han, extension A
      {0x4E00, 0x9FFF},    // Han
      {0xA000, 0xA4CF},    // Yi
      {0xA9E0, 0xA9FF},    // Myanmar, extended B
      {0xAA60, 0xAA7F},    // Myanmar, extended A
      {0xF900, 0xFAFF},    // Han, compatibility
      {0xFF66, 0xFF9F},    // Katakana, half width
      {0x1AFF0, 0x1B16F},  // kana, supplements
      {0x20000, 0x3FFFF},  // Han, extensions
  };
  return c >= 0x0E00 && is_within(kBlocks, c) && is(c, kPartOfWord);
}

bool is_latin(char32_t c) {
  constexpr char32_t kBlocks[][2] = {{'A', 'Z'},       {'a', 'z'},       {0xAA, 0xAA},     {0xBA, 0xBA},     {0xC0, 0x2AF},
                                     {0x1D00, 0x1D25}, {0x1D2C, 0x1D5C}, {0x1D62, 0x1D77}, {0x1D79, 0x1DBE}, {0x1E00, 0x1EFF},
                                     {0x2071, 0x2071}, {0x207F, 0x207F}, {0x2090, 0x209C}, {0x212A, 0x212B}, {0x2C60, 0x2C7F},
                                     {0xA722, 0xA7FF}, {0xAB30, 0xAB6F}, {0xFB00, 0xFB06}, {0xFF21, 0xFF3A}, {0xFF41, 0xFF5A}};
  return is_within(kBlocks, c) && is(c, kLetter);
}

bool are_written_without_spaces(const std::vector<std::string>& texts) {
  int64_t letters = 0, without = 0;
  for (const std::string& text : texts) {
    const std::string valid = replace_invalid(text);
    for (size_t at = 0; at < valid.size();) {
      const Decoded next = decode_valid(valid, at);
      at += next.length;
      if (!is(next.c, kLetter)) continue;
      ++letters;
      without += is_written_without_spaces(next.c) ? 1 : 0;
    }
  }
  return 2 * without > letters;
}

}  // namespace clearhead::text
