// Classes of the code points below U+34000, which include all assigned characters of planes 0 to 3, are in a table that is made at the
// first use; later ones are looked up one by one. Decomposition, canonical ordering and composition use utf8proc and record what each
// step changed.
#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "base/utf8.h"
#include "text/frozen_classes.h"

namespace clearhead::text {
namespace {

template <size_t n>
bool within(const Range (&ranges)[n], char32_t c) {
  const Range* end = std::end(ranges);
  const Range* at = std::lower_bound(std::begin(ranges), end, c, [](const Range& range, char32_t value) { return range.last < value; });
  return at != end && at->first <= c;
}

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_chinese(char32_t c) {  // the ranges of BERT's own tokenizer, gap at U+2B820 included
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool is_circled_letter(char32_t c) {  // alphabetic though of category So
  return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

// The classes that follow from utf8proc's properties of a code point.
uint16_t current_classes(char32_t c) {
  if (c >= 0x110000) return 0;
  uint16_t found = 0;
  const utf8proc_property_t* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
  const auto category = static_cast<utf8proc_category_t>(property->category);
  const bool is_letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
  const bool is_mark = category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
  const bool is_number = category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
  if (is_letter) found |= kLetter;
  if (is_number) found |= kNumber;
  if (is_white_space(c)) found |= kSpace;
  if (is_letter || is_mark || category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_PC ||
      is_circled_letter(c) || c == 0x200C || c == 0x200D) {
    found |= kWord;
  }
  if (is_chinese(c)) found |= kChinese;
  if (c == '\r' || c == '\n') found |= kLineBreak;
  if (c >= 0x80 && (property->combining_class != 0 || is_mark)) found |= kApart;
  return found;
}

// Calls visit(table, class) for every table of frozen_classes.h and the class that it adds.
template <class Visit>
void for_each_range(const Visit& visit) {
  visit(kNewLetterRanges, kLetter);
  visit(kNewNumberRanges, kNumber);
  visit(kNewWordRanges, kWord);
  visit(kBertPunctuationRanges, kBertPunctuation);
  visit(kBertRemovedRanges, kBertRemoved);
  visit(kNonspacingMarkRanges, kNonspacingMark);
  visit(kCombiningMarkRanges, kCombiningMark);
  visit(kDecomposableRanges, kApart);
}

uint16_t find_classes(char32_t c) {
  uint16_t found = current_classes(c);
  for_each_range([&](const auto& ranges, uint16_t bits) {
    if (within(ranges, c)) found |= bits;
  });
  return found;
}

constexpr char32_t kTabled = 0x34000;  // above all assigned characters of planes 0 to 3; the few characters beyond are looked up one by one

struct ClassTable {
  std::vector<uint16_t> of;
  ClassTable() : of(kTabled) {
    for (char32_t c = 0; c < kTabled; ++c) of[c] = current_classes(c);
    const auto mark = [&](const auto& ranges, uint16_t bits) {
      for (const Range& range : ranges) {
        for (char32_t c = range.first; c <= range.last && c < kTabled; ++c) of[c] |= bits;
      }
    };
    for_each_range(mark);
  }
};

const uint16_t* class_table() {
  static const ClassTable table;
  return table.of.data();
}

// Returns the length of the character at `at`. If it is invalid, returns 0 and sets `invalid` to the length of the invalid
// subpart; `cut_off` is set if the text ends inside a character that is valid so far.
uint32_t scan(const unsigned char* at, size_t left, uint32_t* invalid, bool* cut_off) {
  const unsigned char lead = at[0];
  *cut_off = false;
  if (lead < 0x80) return 1;
  *invalid = 1;
  uint32_t length = 0;
  unsigned char low = 0x80, high = 0xBF;  // bounds of the second byte (Unicode, table 3-7)
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return 0;
  }
  for (uint32_t k = 1; k < length; ++k) {
    if (k >= left) {
      *cut_off = true;
      return 0;
    }
    if (at[k] < low || at[k] > high) return 0;
    low = 0x80;
    high = 0xBF;
    *invalid = k + 1;
  }
  return length;
}

bool eight_ascii(const char* at) {
  uint64_t word = 0;
  std::memcpy(&word, at, 8);
  return (word & 0x8080808080808080ull) == 0;
}

}  // namespace

uint16_t classes(char32_t c) {
  static const uint16_t* const table = class_table();
  return c < kTabled ? table[c] : find_classes(c);
}

Decoded decode_valid(std::string_view text, size_t at) {
  const auto byte = [&](size_t k) { return static_cast<char32_t>(static_cast<unsigned char>(text[at + k])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {((lead & 0x1F) << 6) | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {((lead & 0x0F) << 12) | ((byte(1) & 0x3F) << 6) | (byte(2) & 0x3F), 3};
  return {((lead & 0x07) << 18) | ((byte(1) & 0x3F) << 12) | ((byte(2) & 0x3F) << 6) | (byte(3) & 0x3F), 4};
}

size_t previous_boundary(std::string_view text, size_t at) {
  do {
    --at;
  } while (at > 0 && continues_character(text[at]));
  return at;
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6));
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

size_t valid_prefix(std::string_view text, bool* incomplete) {
  if (incomplete) *incomplete = false;
  size_t at = 0;
  while (at < text.size()) {
    if (at + 8 <= text.size() && eight_ascii(text.data() + at)) {
      at += 8;
      continue;
    }
    uint32_t invalid = 0;
    bool cut_off = false;
    const uint32_t length = scan(reinterpret_cast<const unsigned char*>(text.data()) + at, text.size() - at, &invalid, &cut_off);
    if (length == 0) {
      if (incomplete) *incomplete = cut_off;
      return at;
    }
    at += length;
  }
  return at;
}

std::string replace_invalid(std::string_view text, std::vector<Replaced>* replaced) {
  std::string out;
  out.reserve(text.size() + 16);
  size_t at = 0;
  while (at < text.size()) {
    const size_t valid = valid_prefix(text.substr(at));
    out.append(text.substr(at, valid));
    at += valid;
    if (at == text.size()) break;
    uint32_t invalid = 0;
    bool cut_off = false;
    scan(reinterpret_cast<const unsigned char*>(text.data()) + at, text.size() - at, &invalid, &cut_off);
    if (replaced) replaced->push_back({out.size(), at, invalid});
    out += "\xEF\xBF\xBD";
    at += invalid;
  }
  return out;
}

Lower to_lower(char32_t c) {
  if (c < 0x80) return {c >= 'A' && c <= 'Z' ? c + 32 : c, 0};
  switch (c) {
    case 0x130: return {'i', 0x307};
    case 0x1C89: return {0x1C8A, 0};  // this and all below: later than Unicode 15
    case 0xA7CB: return {0x264, 0};
    case 0xA7CC:
    case 0xA7CE:
    case 0xA7D2:
    case 0xA7D4:
    case 0xA7DA: return {c + 1, 0};
    case 0xA7DC: return {0x19B, 0};
    default: break;
  }
  if (c >= 0x10D50 && c <= 0x10D65) return {c + 0x20, 0};
  if (c >= 0x16EA0 && c <= 0x16EB8) return {c + 0x1B, 0};
  return {static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), 0};
}

char32_t to_upper(char32_t c) {
  return c == 0xDF ? c : static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));  // ẞ is not in common use
}

uint8_t combining_class(char32_t c) {
  if (!is(c, kCombiningMark)) return 0;  // marks that are newer than Unicode 9 have class 0 in the `tokenizers` package
  return static_cast<uint8_t>(utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class);
}

size_t decompose(char32_t c, char32_t* parts) {
  parts[0] = c;
  if (c >= 0xAC00 && c <= 0xD7A3) {  // Hangul by arithmetic
    const char32_t syllable = c - 0xAC00;
    parts[0] = 0x1100 + syllable / 588;
    parts[1] = 0x1161 + syllable % 588 / 28;
    parts[2] = 0x11A7 + syllable % 28;
    return syllable % 28 == 0 ? 2 : 3;
  }
  if (c < 0xC0 || !within(kDecomposableRanges, c)) return 1;
  utf8proc_int32_t out[8];
  int boundary = 0;
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), out, 8, UTF8PROC_DECOMPOSE, &boundary);
  if (count <= 0 || count > 8) return 1;
  for (utf8proc_ssize_t i = 0; i < count; ++i) parts[i] = static_cast<char32_t>(out[i]);
  return static_cast<size_t>(count);
}

namespace {

// The composition of two characters, or 0.
char32_t compose(char32_t first, char32_t second) {
  if (second < 0x300 || !is(second, kCombiningMark | kApart | kLetter)) return 0;
  utf8proc_int32_t pair[2] = {static_cast<utf8proc_int32_t>(first), static_cast<utf8proc_int32_t>(second)};
  const auto length = utf8proc_normalize_utf32(pair, 2, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (length != 1 || !within(kDecomposableRanges, static_cast<char32_t>(pair[0]))) return 0;
  return static_cast<char32_t>(pair[0]);
}

struct Decomposer {
  bool is_compatible;
  std::vector<Change> out;
  std::vector<uint8_t> order;  // combining class of each character
  size_t pending = 0;          // characters from here on may still be reordered

  void push(char32_t c, int32_t change) {
    const uint8_t combining = c < 0x300 ? 0 : combining_class(c);
    if (combining == 0) sort_pending();
    out.push_back({c, change});
    order.push_back(combining);
    if (combining == 0) pending = out.size();
  }
  void sort_pending() {
    if (out.size() - pending > 1) {
      std::vector<size_t> index(out.size() - pending);
      for (size_t i = 0; i < index.size(); ++i) index[i] = pending + i;
      std::stable_sort(index.begin(), index.end(), [&](size_t a, size_t b) { return order[a] < order[b]; });
      std::vector<Change> changes;
      std::vector<uint8_t> orders;
      for (const size_t i : index) {
        changes.push_back(out[i]);
        orders.push_back(order[i]);
      }
      std::copy(changes.begin(), changes.end(), out.begin() + static_cast<std::ptrdiff_t>(pending));
      std::copy(orders.begin(), orders.end(), order.begin() + static_cast<std::ptrdiff_t>(pending));
    }
    pending = out.size();
  }
  void decompose(char32_t c) {
    if (c < 0xA0 || !within(kDecomposableRanges, c)) return push(c, 0);
    utf8proc_int32_t parts[64];
    int boundary = 0;
    const int options = UTF8PROC_DECOMPOSE | (is_compatible ? UTF8PROC_COMPAT : 0);
    const auto count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 64, static_cast<utf8proc_option_t>(options), &boundary);
    if (count <= 0 || count > 64) return push(c, 0);
    for (utf8proc_ssize_t i = 0; i < count; ++i) push(static_cast<char32_t>(parts[i]), i > 0);
  }
};

// Canonical composition. A composed pair has the sum of both changes, minus 1 for the character that is gone.
std::vector<Change> recompose(const std::vector<Change>& in, const std::vector<uint8_t>& order) {
  std::vector<Change> out;
  out.reserve(in.size());
  bool has_starter = false;
  int last = -1;  // combining class of the last mark that did not compose, −1 if there is none
  Change starter{};
  std::vector<Change> marks;
  const auto flush = [&] {
    if (has_starter) out.push_back(starter);
    out.insert(out.end(), marks.begin(), marks.end());
    marks.clear();
    last = -1;
  };
  for (size_t i = 0; i < in.size(); ++i) {
    if (!has_starter) {
      if (order[i] != 0) {
        out.push_back(in[i]);
        continue;
      }
      has_starter = true;
      starter = in[i];
      continue;
    }
    const bool is_blocked = last >= 0 && last >= order[i];
    const char32_t composed = is_blocked ? 0 : compose(starter.c, in[i].c);
    if (composed != 0) {
      starter = {composed, starter.change + in[i].change - 1};
    } else if (order[i] == 0) {
      flush();
      starter = in[i];
    } else {
      marks.push_back(in[i]);
      last = order[i];
    }
  }
  flush();
  return out;
}

}  // namespace

std::vector<Change> normal_form(std::string_view text, NormalForm form) {
  Decomposer decomposer{form == NormalForm::kNfkd || form == NormalForm::kNfkc, {}, {}, 0};
  decomposer.out.reserve(text.size());
  decomposer.order.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Decoded decoded = decode_valid(text, at);
    decomposer.decompose(decoded.c);
    at += decoded.length;
  }
  decomposer.sort_pending();
  if (form == NormalForm::kNfd || form == NormalForm::kNfkd) return std::move(decomposer.out);
  return recompose(decomposer.out, decomposer.order);
}

}  // namespace clearhead::text
