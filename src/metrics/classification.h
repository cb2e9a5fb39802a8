// Metrics of single-label classification, multi-label classification and regression, equal to scikit-learn and scipy.
//
//   Matthews: (c·n − Σ_k p_k·t_k) / √((n² − Σ p_k²)(n² − Σ t_k²))
//     n examples, c correct; class k is predicted p_k times and expected t_k times
//   Pearson:  Σ (x−x̄)(y−ȳ) / √(Σ (x−x̄)² · Σ (y−ȳ)²)
//   Spearman: Pearson of the ranks; equal values share the mean of their ranks
//
// Sources: scikit-learn's precision_recall_fscore_support and matthews_corrcoef (Gorodkin 2004 for more than two classes);
// scipy.stats.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "metrics/score.h"

namespace clearhead::metrics {

struct Classification {
  double accuracy = 0;
  std::vector<Score> classes;  // [class]; all zero for a class that does not occur
  Averages average;            // over the classes that are predicted or expected, as in scikit-learn; micro is the accuracy
  double matthews = 0;         // −1 … 1; 0 if all predictions, or all expected classes, are the same
};

/// predicted, expected: the class of each example, 0 … classes − 1. Throws kInvalidArgument for a class out of range, for
/// different lengths, and without examples.
Classification classification(std::span<const int32_t> predicted, std::span<const int32_t> expected, int32_t classes);

struct MultiLabel {
  double accuracy = 0;        // share of examples whose labels are all correct
  std::vector<Score> labels;  // [label]
  Averages average;           // over all labels
};

/// predicted, expected: [example, label], 0 or 1. Throws kInvalidArgument for other values, for lengths that differ or are
/// not a multiple of `labels`, and without examples.
MultiLabel multi_label(std::span<const uint8_t> predicted, std::span<const uint8_t> expected, size_t labels);

struct Regression {
  double mean_squared_error = 0, mean_absolute_error = 0;
  double pearson = 0, spearman = 0;  // −1 … 1; NaN if all predicted or all expected values are equal, or for one example
};

/// Throws kInvalidArgument for numbers that are not finite, for different lengths, and without numbers.
Regression regression(std::span<const double> predicted, std::span<const double> expected);

}  // namespace clearhead::metrics
