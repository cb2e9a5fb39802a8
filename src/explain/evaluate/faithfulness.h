// Faithfulness: how well a ranking of a text's items reflects what the answer depends on. The model is run again with items removed.
//
//   comprehensiveness_k = y(x) − y(x without the k highest)     sufficiency_k = y(x) − y(the k highest alone)
//   AOPC: the mean of either over several k, given as shares of the items (kShares)
//   deletion, insertion: area under y as a function of the share of items removed from the highest down, or put back into an empty input
//   leave-one-out_i = y(x) − y(x without i); its correlation with the scores is Kendall's τ-b
//   infidelity    = E_S[(Σ_{i ∈ S} score_i − (y(x) − y(x without S)))²]; scaled: for β·score with the β that minimises it
//   sensitivity-n = Pearson correlation of Σ_{i ∈ S} score_i and y(x) − y(x without S) over sets S of n items
//
// An item is a unit of removal: a token, a word, a segment. The caller decides what "removed" means (hidden from attention, or replaced by
// a mask token) and reports it beside the numbers. For a share of n items, k = ⌈share·n⌉. Among equal scores the earlier item ranks higher.
//
// Sources: DeYoung et al. 2020, §4.2 (the ERASER scorer averages these differences over thresholds, then over texts); Petsiuk et al.
// 2018; Jain & Wallace 2019; Yeh et al. 2019, with the scale of Captum's infidelity(normalize=True); Ancona et al. 2018.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "metrics/bootstrap.h"

namespace clearhead::explain {

/// One flag per item: 1 if it is removed.
using Removal = std::vector<uint8_t>;
/// The answer's number y (for example its probability) for each removal, in order. Many removals are passed at once, so that the model
/// can run them as batches.
using Answers = std::function<std::vector<double>(const std::vector<Removal>& removed)>;

inline constexpr double kShares[] = {0.01, 0.05, 0.10, 0.20, 0.50};

/// Items from the highest score to the lowest. Throws kInvalidArgument for no items and for scores that are not finite, as do all functions
/// below.
std::vector<size_t> ranked(std::span<const double> scores);

struct Erasure {
  double answer = 0;                                        // y(x)
  std::vector<double> comprehensiveness, sufficiency;       // for each share
  double comprehensiveness_aopc = 0, sufficiency_aopc = 0;  // the means over the shares
};

/// Calls `answers` once, with 2·shares + 1 removals.
Erasure erasure(const Answers& answers, std::span<const double> scores, std::span<const double> shares = kShares);

struct Curves {
  std::vector<double> removed;              // the share of items that is removed at each step: 0 … 1
  std::vector<double> deletion, insertion;  // y at each step; insertion[i]: with the lowest items of this share removed
  double deletion_area = 0, insertion_area = 0;
};

/// Steps of equal size: `steps` of them, or as many as there are items if these are fewer. Calls `answers` once, with 2·steps removals.
Curves curves(const Answers& answers, std::span<const double> scores, size_t steps = 20);

/// y(x) − y(x without i) for each item. Calls `answers` once, with items + 1 removals.
std::vector<double> leave_one_out(const Answers& answers, size_t items);

/// Sets of items and the change when each is removed. Computed once for a text, then compared with any number of rankings.
struct Changes {
  std::vector<Removal> removed;
  std::vector<double> change;  // y(x) − y(x without the set)
};

/// `count` sets of `size` items; size 0: each set has its own size, uniform in 1 … items. Set i depends only on the seed and on i.
/// Throws kInvalidArgument for a size larger than the number of items.
std::vector<Removal> random_removals(size_t items, size_t size, size_t count, uint64_t seed);
Changes changes_of(const Answers& answers, std::vector<Removal> removed);

struct Infidelity {
  double plain = 0;
  double scaled = 0;  // for β·score: for scores that are not shares of y, such as attention
  double scale = 0;   // β = Σ (score of the set · change) / Σ (score of the set)²; 0 if every set has score zero
};

/// Throws kInvalidArgument if there are no sets, or if a removal does not have one flag per score.
Infidelity infidelity(std::span<const double> scores, const Changes& changes);

/// For sets of one size. NaN if either the scores or the changes are equal for all sets. Throws as infidelity() does, and for sets of
/// different sizes.
double sensitivity_n(std::span<const double> scores, const Changes& changes);

// Baseline rankings, to be evaluated with the same budget of runs as a method's.

/// Scores in a uniformly random order.
std::vector<double> random_ranking(size_t items, uint64_t seed);
/// Scores that rank the items in the reverse order of `scores`.
std::vector<double> reverse_ranking(std::span<const double> scores);

/// The mean over texts of method − baseline, with its bootstrap interval. Both have one number per text.
metrics::PairedDifference against(std::span<const double> method, std::span<const double> baseline,
                                  const metrics::BootstrapOptions& options = {});

}  // namespace clearhead::explain
