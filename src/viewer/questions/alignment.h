// How two texts are laid over each other: which ids of the one are which of the other. What neither rule below aligns stands in one text only, and is never guessed.
//
//   one text, read by one tokenizer    every id is itself
//   one text, read by two tokenizers   tokens over the same characters, blanks at their ends aside
//   two texts                          a diff of the tokens' texts: a longest common subsequence
//
// Special tokens and items are the same where their names are, between the same neighbours.
#pragma once

#include <cstdint>
#include <vector>

#include "clearhead/observer.h"

namespace clearhead {

/// Runs of equal ids in two texts: `count` from `before` in the one are those from `after` in the other.
struct Aligned {
  int64_t before = 0, after = 0, count = 0;
};

struct Alignment {
  enum class By : uint8_t { kSame, kOffsets, kTexts } by = By::kSame;
  bool is_whole = true;           ///< false: the texts differ in so much that only what they begin and end with was sought
  std::vector<Aligned> pieces{};  ///< ascending in both
};
/// "same", "offsets", "texts".
const char* to_string(Alignment::By by);

/// A longest common subsequence (Myers 1986, algorithm of O(n·d) for d differences), of up to 4,000 differences between what both begin and end with; of more,
/// what the rest shares is not sought, and `is_whole` is false where it is given.
std::vector<Aligned> aligned(const std::vector<int32_t>& before, const std::vector<int32_t>& after, bool* is_whole = nullptr);

Alignment align(const RunText& before, const RunText& after);

/// Both texts in one order: places that both have, and between them those of one only, the first text's in front.
struct Places {
  std::vector<int32_t> before{}, after{};  // [place] id, −1: not there
  int64_t size() const { return static_cast<int64_t>(before.size()); }
};
Places places_of(const std::vector<Aligned>& pieces, int64_t before, int64_t after);

}  // namespace clearhead
