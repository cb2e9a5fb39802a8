// Which pairs a description shows, whatever their scores: what uniform attention would be shared among.
//
//   chance of rows → keys = mean over the rows of (keys of the range that the row sees) / (keys that it sees)
//
// A bias of −∞ is not counted: it is a score, not visibility.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "clearhead/record.h"
#include "clearhead/trace.h"

namespace clearhead {

/// The pairs of one sequence of a record, asked of the backend: scores of zeros over zeros, which are −∞ exactly where a pair is hidden.
class ShownPairs {
 public:
  ShownPairs(const AttentionRecord& record, int64_t batch);
  /// How many heads may differ in what they hide: all of them, or one that stands for all.
  int64_t heads() const { return heads_; }
  int64_t rows() const { return zeros_.rows_kept(); }
  int64_t keys() const { return key_length(zeros_.keys); }
  /// shown: [count, keys.size()], 1 or 0, of the record's rows from `row` on. At most kRows of them. Thread-safe.
  void take(int64_t head, int64_t row, int64_t count, Range keys, std::span<float> shown) const;
  static constexpr int64_t kRows = 64;

 private:
  AttentionRecord zeros_;
  int64_t batch_, heads_;
};

/// The mass that rows would send to keys if they looked evenly at all that they see. [head] of the map's first sequence; NaN where no row of the range was
/// kept. Rows that see nothing count as 0, as their mass does. Time O(rows · keys of the map) for one head, or for each where heads hide differently.
std::vector<float> chance_mass(const LayerMap& map, Range rows, Range keys);

}  // namespace clearhead
