// Precision, recall and F1 from counts, and their averages over classes, for classification and tagging.
//
//   precision = correct / predicted      recall = correct / expected      F1 = 2 · correct / (predicted + expected)
//
// 0/0 is 0 (scikit-learn's zero_division=0).
#pragma once

#include <cstdint>
#include <vector>

namespace clearhead::metrics {

/// Counts of one class: correct predictions, all predictions, and expected occurrences.
struct Counts {
  int64_t correct = 0, predicted = 0, expected = 0;
};

struct Score {
  double precision = 0, recall = 0, f1 = 0;  // 0 … 1
  int64_t support = 0;                       // number of expected occurrences
};

/// micro: from the sums of the counts. macro: the mean over classes; its F1 need not lie between its precision and its recall.
/// weighted: the mean weighted by support.
struct Averages {
  Score micro, macro, weighted;
};

Score score_of(const Counts& counts);

/// macro includes every class in `classes`. All averages are zero without classes; weighted is zero without support.
Averages averages_of(const std::vector<Counts>& classes);

}  // namespace clearhead::metrics
