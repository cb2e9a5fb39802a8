// White space, and lower case with its only rule that depends on neighbours.
#include "text/strings.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

#include "text/unicode.h"

namespace clearhead::text {
namespace {

constexpr char32_t kCapitalSigma = 0x3A3, kSigma = 0x3C3, kFinalSigma = 0x3C2;

utf8proc_category_t category_of(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

// Case_Ignorable: marks, format characters, modifiers, and characters that may occur inside a word (Word_Break MidLetter,
// MidNumLet, Single_Quote).
bool is_case_ignorable(char32_t c) {
  constexpr char32_t kInsideWords[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,  0x5F4,  0x2018, 0x2019,
                                       0x2024, 0x2027, 0xFE13, 0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
  switch (category_of(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: return std::binary_search(std::begin(kInsideWords), std::end(kInsideWords), c);
  }
}

// Cased, for characters that are not Case_Ignorable: letters with case, ª and º, Roman numerals and circled letters.
bool is_cased(char32_t c) {
  const utf8proc_category_t category = category_of(c);
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT || c == 0xAA ||
         c == 0xBA || (c >= 0x2160 && c <= 0x217F) || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
         (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

// True if the nearest character before `at` that is not Case_Ignorable has case.
bool follows_cased(std::string_view text, size_t at) {
  while (at > 0) {
    at = previous_boundary(text, at);
    const char32_t c = decode_valid(text, at).c;
    if (!is_case_ignorable(c)) return is_cased(c);
  }
  return false;
}

// True if the nearest character from `at` on that is not Case_Ignorable has case.
bool precedes_cased(std::string_view text, size_t at) {
  while (at < text.size()) {
    const Decoded next = decode_valid(text, at);
    if (!is_case_ignorable(next.c)) return is_cased(next.c);
    at += next.length;
  }
  return false;
}

}  // namespace

bool is_blank(char32_t c) { return is(c, kSpace) || (c >= 0x1C && c <= 0x1F); }

std::string_view strip_end(std::string_view text) {
  while (!text.empty()) {
    const size_t last = previous_boundary(text, text.size());
    if (!is_blank(decode_valid(text, last).c)) break;
    text = text.substr(0, last);
  }
  return text;
}

std::string_view strip(std::string_view text) {
  while (!text.empty()) {
    const Decoded first = decode_valid(text, 0);
    if (!is_blank(first.c)) break;
    text.remove_prefix(first.length);
  }
  return strip_end(text);
}

std::vector<std::string_view> split_at_blanks(std::string_view text) {
  std::vector<std::string_view> words;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const Decoded next = decode_valid(text, at);
    if (is_blank(next.c)) {
      if (at > begin) words.push_back(text.substr(begin, at - begin));
      begin = at + next.length;
    }
    at += next.length;
  }
  if (begin < text.size()) words.push_back(text.substr(begin));
  return words;
}

std::string lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Decoded next = decode_valid(text, at);
    if (next.c == kCapitalSigma) {
      append_utf8(out, follows_cased(text, at) && !precedes_cased(text, at + next.length) ? kFinalSigma : kSigma);
    } else {
      const Lower lowered = to_lower(next.c);
      append_utf8(out, lowered.first);
      if (lowered.second != 0) append_utf8(out, lowered.second);
    }
    at += next.length;
  }
  return out;
}

}  // namespace clearhead::text
