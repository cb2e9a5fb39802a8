// How well a ranking of a text's items says what the answer needed: the model is asked again with items removed.
//
//   comprehensiveness_k = y(x) − y(x without the k highest)     sufficiency_k = y(x) − y(the k highest alone)     AOPC: the mean over the shares
//   deletion, insertion: area under y over the share of items removed from the highest down, or put back into nothing
//   leave-one-out_i = y(x) − y(x without i); its correlation with the scores is Kendall's τ-b
//   infidelity    = E_S[(Σ_{i ∈ S} score_i − (y(x) − y(x without S)))²]; scaled: of β·score with the β that makes it least
//   sensitivity-n = Pearson correlation of Σ_{i ∈ S} score_i and y(x) − y(x without S) over sets S of n items
//   max-sensitivity = max over small changes δ of ‖scores(x + δ) − scores(x)‖ / ‖scores(x)‖
//
// An item is whatever is removed as one: a token, a word, a segment. What "removed" means (not seen, or replaced by a mask token) is the caller's, who says it beside
// the numbers. Where k items are wanted of n, k = ⌈share·n⌉. Among equal scores the earlier item counts as higher.
//
// Sources: DeYoung et al. 2020, §4.2 (the ERASER scorer averages these differences over thresholds, then over texts); Petsiuk et al. 2018; Jain & Wallace 2019;
// Yeh et al. 2019, with the scale of Captum's infidelity(normalize=True); Ancona et al. 2018.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "metrics/bootstrap.h"

namespace clearhead::judge {

/// One flag per item: 1 where it is removed.
using Removal = std::vector<uint8_t>;
/// The answer's number y (its probability, say) for each removal, in order. Many are given at once, so that the model may run them as batches.
using Answers = std::function<std::vector<double>(const std::vector<Removal>& removed)>;

inline constexpr double kShares[] = {0.01, 0.05, 0.10, 0.20, 0.50};

/// Items from the highest score to the lowest. Throws kInvalidArgument for none and for scores that are not finite, as all below.
std::vector<size_t> ranked(std::span<const double> scores);

struct Erasure {
  double answer = 0;                                        // y(x)
  std::vector<double> comprehensiveness, sufficiency;       // of each share
  double comprehensiveness_aopc = 0, sufficiency_aopc = 0;  // their means
};

/// Asks once, for 2·shares + 1 removals.
Erasure erasure(const Answers& answers, std::span<const double> scores, std::span<const double> shares = kShares);

struct Curves {
  std::vector<double> removed;              // the share of items that is removed at each step: 0 … 1
  std::vector<double> deletion, insertion;  // y at each step; insertion[i] with the lowest of this share removed
  double deletion_area = 0, insertion_area = 0;
};

/// Steps of equal size, as many as `steps` or as there are items. Asks once, for 2·steps removals.
Curves curves(const Answers& answers, std::span<const double> scores, size_t steps = 20);

/// y(x) − y(x without i), of each item. Asks once, for items + 1 removals.
std::vector<double> leave_one_out(const Answers& answers, size_t items);

/// Sets of items and what removing each changes; asked once for a text, then held against any number of rankings.
struct Changes {
  std::vector<Removal> removed;
  std::vector<double> change;  // y(x) − y(x without the set)
};

/// `count` sets of `size` items; size 0: a size of its own for each set, uniform in 1 … items. Set i depends on the seed and i only.
/// Throws kInvalidArgument for a size beyond the items.
std::vector<Removal> random_removals(size_t items, size_t size, size_t count, uint64_t seed);
Changes changes_of(const Answers& answers, std::vector<Removal> removed);

struct Infidelity {
  double plain = 0;
  double scaled = 0;  // of β·score: for scores that are no shares of y, such as attention
  double scale = 0;   // β = Σ (score of the set · change) / Σ (score of the set)²; 0 where every set scores zero
};

/// Throws kInvalidArgument without sets, or where they have another number of items.
Infidelity infidelity(std::span<const double> scores, const Changes& changes);

/// Of sets of one size. NaN where either side is the same for every set. Throws as infidelity does, and for sets of different sizes.
double sensitivity_n(std::span<const double> scores, const Changes& changes);

/// again(i): the scores after small change number i = 0 … draws − 1 of what the model reads. NaN where the scores are all zero.
double max_sensitivity(std::span<const double> scores, const std::function<std::vector<double>(size_t draw)>& again, size_t draws);

// Rankings to stand beside a method's, with the same budget of runs.

/// Every order is equally likely.
std::vector<double> random_ranking(size_t items, uint64_t seed);
/// The least important first.
std::vector<double> reverse_ranking(std::span<const double> scores);

/// The mean over texts of method − baseline with its bootstrap interval; both have one number per text.
metrics::PairedDifference against(std::span<const double> method, std::span<const double> baseline,
                                  const metrics::BootstrapOptions& options = {});

}  // namespace clearhead::judge
