// Visibility that depends on position − key alone, as a bit set over offsets. Such a visibility rule is evaluated once
// per offset of the call (rule-inl.h) instead of for every key tile. Whether it shows any or all pairs of a block follows
// from the difference of two bit counts.
#pragma once

#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

#include "clearhead/look.h"
#include "spec/rule_bounds.h"

namespace clearhead::cpu {

class OffsetBits {
 public:
  /// offsets: every position − key of the call. shows: bit i of word w says whether offset offsets.begin + 64·w + i is
  /// shown; bits past the end are 0.
  OffsetBits(Range offsets, std::vector<uint64_t> shows) : first_(offsets.begin), shows_(std::move(shows)) {
    // So that `from` can always read the word after the one it needs.
    shows_.resize(static_cast<size_t>(offsets.size() / 64 + 2), 0);
    int32_t count = 0;
    for (const uint64_t word : shows_) before_.push_back(count), count += std::popcount(word);
  }
  /// Returns kAll, kNone or kMixed: how many of the offsets between `positions` and `keys` are shown. Exact. Neither range
  /// may be empty.
  Shown shown(Range positions, Range keys) const {
    const int64_t low = positions.begin - (keys.end - 1), end = positions.end - keys.begin, count = count_to(end) - count_to(low);
    return count == 0 ? Shown::kNone : count == end - low ? Shown::kAll : Shown::kMixed;
  }
  /// Returns 64 bits: bit i says whether `offset` + i is shown.
  uint64_t from(int64_t offset) const {
    const auto at = static_cast<uint64_t>(offset - first_), word = at / 64, bit = at % 64;
    return bit == 0 ? shows_[word] : shows_[word] >> bit | shows_[word + 1] << (64 - bit);
  }

 private:
  int64_t count_to(int64_t offset) const {  // number of shown offsets below `offset`
    const auto at = static_cast<uint64_t>(offset - first_), word = at / 64, bit = at % 64;
    return before_[word] + std::popcount(shows_[word] & ((uint64_t{1} << bit) - 1));
  }

  int64_t first_;
  std::vector<uint64_t> shows_;
  std::vector<int32_t> before_;  // [word]: number of shown offsets in earlier words
};

}  // namespace clearhead::cpu
