// Unicode for tokenizers: UTF-8, character classes, lower case, normal forms.
//
// Properties come from utf8proc, with two corrections. With these, they equal those of the `tokenizers` package on every
// code point, for any version of utf8proc (2.8: Unicode 15.0, 2.9: 15.1):
//  - BERT's classes, combining marks and compatibility decompositions are frozen in that package at Unicode 8 and 9.
//    frozen_classes.h has complete tables (made by tools/goldens/tokenizer_tables.py).
//  - Its letters and numbers follow Unicode 16, its lower case Unicode 17. What is newer than Unicode 14 or 15 is listed separately.
//
// Known differences: numbers of Unicode 17 (U+11DE0..11DE9, U+16FF4..16FF6), for the Digits pre-tokenizer only; and
// regular expressions of a tokenizer.json other than the well-known ones, which PCRE2 runs with its own version of
// Unicode (10.42: 14.0).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace clearhead::text {

enum Class : uint16_t {
  kLetter = 1 << 0,           // L
  kNumber = 1 << 1,           // N
  kSpace = 1 << 2,            // White_Space
  kWord = 1 << 3,             // \w: alphabetic, marks, decimal numbers, connectors, joiners
  kBertPunctuation = 1 << 4,  // ASCII symbols and P
  kBertRemoved = 1 << 5,      // NUL, U+FFFD, Cc (except tab, line feed, carriage return), Cf, Co
  kNonspacingMark = 1 << 6,   // Mn, as BertNormalizer strips it
  kCombiningMark = 1 << 7,    // M, as StripAccents strips it
  kChinese = 1 << 8,          // the blocks that BertNormalizer surrounds with spaces
  kLineBreak = 1 << 9,        // \r or \n
  kApart = 1 << 10,           // marks and characters with a decomposition: normal forms must handle them
};

/// The classes of a code point, combined by or. Accepts any 32-bit value.
uint16_t classes(char32_t c);

inline bool is(char32_t c, uint16_t any_of) { return (classes(c) & any_of) != 0; }

/// The code point at `text[at]`, and its length in bytes. The text must be valid UTF-8.
struct Decoded {
  char32_t c;
  uint32_t length;
};
Decoded decode_valid(std::string_view text, size_t at);
/// The start of the character before `at` (at > 0, a boundary of valid UTF-8).
size_t previous_boundary(std::string_view text, size_t at);

void append_utf8(std::string& out, char32_t c);
inline uint32_t utf8_length(char32_t c) { return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4; }

/// Length of the longest valid prefix. `incomplete` (optional) is set if the rest is a character cut off at the end.
size_t valid_prefix(std::string_view text, bool* incomplete = nullptr);

/// A range of bytes of the original text that was replaced by one U+FFFD.
struct Replaced {
  uint64_t read_at;   // byte offset of the U+FFFD in the repaired text
  uint64_t given_at;  // byte offset of the first replaced byte in the original text
  uint32_t length;    // number of replaced bytes, 1..3
};
/// `text` with every maximal invalid subpart replaced by U+FFFD.
std::string replace_invalid(std::string_view text, std::vector<Replaced>* replaced = nullptr);

/// Unconditional lower case; `second` is 0 except for U+0130.
struct Lower {
  char32_t first, second;
};
Lower to_lower(char32_t c);
/// Simple upper case: one code point for one (ß stays), by utf8proc's version of Unicode.
char32_t to_upper(char32_t c);

/// A character of a transformed text, and its relation to the old one: 0 replaces the next old character, 1 is
/// inserted, −n replaces the next old character and removes the n after it.
struct Change {
  char32_t c;
  int32_t change;
};
/// Writes the canonical decomposition of a character to `parts` (room for 8) and returns its length.
size_t decompose(char32_t c, char32_t* parts);
/// Canonical combining class; 0 for marks that Unicode 9 does not have.
uint8_t combining_class(char32_t c);
enum class NormalForm { kNfd, kNfkd, kNfc, kNfkc };
/// The normal form of a valid text, as changes.
std::vector<Change> normal_form(std::string_view text, NormalForm form);

}  // namespace clearhead::text
