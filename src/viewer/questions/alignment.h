// Alignment of two texts: which ids of one correspond to which ids of the other. An id is an index into RunText::ids, so a token or an
// item. Ids that none of the rules below aligns belong to one text only; they are never guessed.
//
//   one text, one tokenizer    every id corresponds to itself
//   one text, two tokenizers   tokens over the same characters, except whitespace at their ends
//   two texts                  a diff of the tokens' texts: a longest common subsequence
//
// Special tokens and items: with two tokenizers, those of equal names between two aligned tokens are aligned in order; in a diff, their
// names are compared like the texts of tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "clearhead/observer.h"

namespace clearhead::viewer {

/// A run of corresponding ids: `count` ids from `before` in the first text and from `after` in the second.
struct Aligned {
  int64_t before = 0, after = 0, count = 0;
};

struct Alignment {
  enum class By : uint8_t { kSame, kOffsets, kTexts } by = By::kSame;
  bool is_whole = true;           ///< false: the texts differ so much that only a common beginning and end were aligned
  std::vector<Aligned> pieces{};  ///< ascending in both texts
};
/// "same", "offsets", "texts".
const char* to_string(Alignment::By by);

/// A longest common subsequence (Myers 1986, the O(n·d) algorithm for d differences) for up to 4,000 differences between the common
/// beginning and the common end. With more differences only these two are aligned, and `is_whole`, if given, is set to false.
std::vector<Aligned> aligned(const std::vector<int32_t>& before, const std::vector<int32_t>& after, bool* is_whole = nullptr);

Alignment align(const RunText& before, const RunText& after);

/// Both texts merged into one order: positions that both texts have, and between them the ids of one text only, those of the first text
/// first.
struct Places {
  std::vector<int32_t> before{}, after{};  // [place] id; −1: not in this text
  int64_t size() const { return static_cast<int64_t>(before.size()); }
};
Places places_of(const std::vector<Aligned>& pieces, int64_t before, int64_t after);

}  // namespace clearhead::viewer
