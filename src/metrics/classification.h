// Classes, sets of labels and numbers against what they should have been, equal to scikit-learn and scipy.
//
//   Matthews: (c·n − Σ_k p_k·t_k) / √((n² − Σ p_k²)(n² − Σ t_k²))     n examples, c right, p_k predicted and t_k there of class k
//   Pearson:  Σ (x−x̄)(y−ȳ) / √(Σ (x−x̄)² · Σ (y−ȳ)²)                   Spearman: Pearson of the ranks, equal values sharing the mean of theirs
//
// Sources: scikit-learn's precision_recall_fscore_support and matthews_corrcoef (Gorodkin 2004 for more than two classes); scipy.stats.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "metrics/score.h"

namespace clearhead::metrics {

struct Classification {
  double accuracy = 0;
  std::vector<Score> classes;  // of each class, also of those that occur nowhere (all zero)
  Averages average;            // over the classes that were predicted or there, as scikit-learn averages; micro is the accuracy
  double matthews = 0;         // −1 … 1; 0 where one side holds a single class
};

/// One class of 0 … classes − 1 for each example. Throws kInvalidArgument for an index outside, sides of different lengths, and no examples.
Classification classification(std::span<const int32_t> predicted, std::span<const int32_t> expected, int32_t classes);

struct MultiLabel {
  double accuracy = 0;        // share of examples whose labels are all right
  std::vector<Score> labels;  // of each label
  Averages average;           // over all labels
};

/// predicted, expected: [example, label], 0 or 1. Throws kInvalidArgument for other values, lengths that differ or are no multiple of `labels`, and none.
MultiLabel multi_label(std::span<const uint8_t> predicted, std::span<const uint8_t> expected, size_t labels);

struct Regression {
  double mean_squared_error = 0, mean_absolute_error = 0;
  double pearson = 0, spearman = 0;  // −1 … 1; NaN where one side is constant (a single value is)
};

/// Throws kInvalidArgument for numbers that are not finite, sides of different lengths, and no numbers.
Regression regression(std::span<const double> predicted, std::span<const double> expected);

}  // namespace clearhead::metrics
