// The (query, key) pairs that a description leaves visible, whatever their scores, and the chance level of a mass: the mass
// under attention that is uniform over the visible keys.
//
//   chance of rows → keys = mean over the rows of (visible keys of the row in the range) / (its visible keys)
//
// A bias of −∞ is not considered: it is part of the score, not of visibility.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "clearhead/record.h"
#include "clearhead/trace.h"

namespace clearhead {

/// The visible pairs of one sequence of a record. The backend computes scores with zeros for Q and K; they are −∞
/// exactly for hidden pairs.
class ShownPairs {
 public:
  ShownPairs(const AttentionRecord& record, int64_t batch);
  /// Number of heads that may hide different pairs: all heads, or 1 if they agree.
  int64_t heads() const { return heads_; }
  int64_t rows() const { return zeros_.rows_kept(); }
  int64_t keys() const { return key_length(zeros_.keys); }
  /// Writes shown [count, keys.size()], 1 for visible and 0 for hidden pairs, for the rows row … row + count − 1 of the record.
  /// count is at most kRows. Thread-safe.
  void take(int64_t head, int64_t row, int64_t count, Range keys, std::span<float> shown) const;
  static constexpr int64_t kRows = 64;

 private:
  AttentionRecord zeros_;
  int64_t batch_, heads_;
};

/// The mean weight that rows would give to keys under uniform attention: [head], for the map's first sequence. NaN if no
/// row of the range was kept. Rows that see no key count as 0. Time: O(rows · keys of the map) for one head, or for each
/// head if heads hide different pairs.
std::vector<float> chance_mass(const LayerMap& map, Range rows, Range keys);

}  // namespace clearhead
