// How far two lists of numbers agree: as rankings, and as distributions.
//
//   Kendall τ-b = (C − D) / √((C + D + T_x)(C + D + T_y))    C, D pairs in the same and in the opposite order, T_x tied in x only, T_y in y only
//   Spearman    = Pearson of the ranks, equal values sharing the mean of theirs (metrics/classification.h)
//   Jensen–Shannon(p, q) = ½ Σ p ln(2p/(p + q)) + ½ Σ q ln(2q/(p + q))    nats: 0 … ln 2
//
// Sources: Kendall 1945, counted in O(n log n) as Knight 1966; Lin 1991. Equal to scipy's kendalltau, and to its jensenshannon squared.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace clearhead::judge {

/// NaN where one side is constant. All throw kInvalidArgument for sides of different lengths, none, and numbers that are not finite.
double kendall(std::span<const double> x, std::span<const double> y);
double pearson(std::span<const double> x, std::span<const double> y);
double spearman(std::span<const double> x, std::span<const double> y);

/// Of two distributions over the same items; each is divided by its sum first. NaN where either sums to zero. Throws also for a negative share.
double jensen_shannon(std::span<const double> p, std::span<const double> q);

/// A row of a map over what it shares with a row of another run: the weights at these places, and the sum of all others as one more. Empty where a weight is
/// negative (linear attention) or NaN, or all are zero: such a row is no distribution.
std::vector<double> shared_row(std::span<const float> weights, std::span<const int64_t> places);

/// Means over all pairs of two or more lists: heads, or seeds. Throws kInvalidArgument for fewer. kendall: over the pairs where it is defined, NaN for none.
struct Agreement {
  double jensen_shannon = 0;
  double kendall = 0;
};
Agreement agreement(std::span<const std::vector<double>> lists);

}  // namespace clearhead::judge
