// Precision, recall and F1 from counts, and their means over classes: what classification and tagging report alike.
//
//   precision = correct / predicted      recall = correct / expected      F1 = 2 · correct / (predicted + expected)
//
// 0/0 is 0 (scikit-learn's zero_division=0).
#pragma once

#include <cstdint>
#include <vector>

namespace clearhead::metrics {

/// Of one class: how often it was predicted rightly, predicted at all, and there.
struct Counts {
  int64_t correct = 0, predicted = 0, expected = 0;
};

struct Score {
  double precision = 0, recall = 0, f1 = 0;  // 0 … 1
  int64_t support = 0;                       // how often it was there
};

/// micro: of the sums of all counts. macro: the mean over classes, which may have an F1 outside its precision and recall. weighted: the mean by support.
struct Averages {
  Score micro, macro, weighted;
};

Score score_of(const Counts& counts);

/// Every class given counts in macro. All zero without classes; weighted is zero without support.
Averages averages_of(const std::vector<Counts>& classes);

}  // namespace clearhead::metrics
