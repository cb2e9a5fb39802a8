// Agreement of two lists of numbers, as rankings and as distributions.
//
//   Kendall τ-b = (C − D) / √((C + D + T_x)(C + D + T_y))
//                 C, D: pairs in the same and in the opposite order; T_x: tied in x only, T_y: in y only
//   Spearman    = Pearson correlation of the ranks; equal values share the mean of their ranks (metrics/classification.h)
//   Jensen–Shannon(p, q) = ½ Σ p ln(2p/(p + q)) + ½ Σ q ln(2q/(p + q))    nats: 0 … ln 2
//
// Sources: Kendall 1945, counted in O(n log n) as in Knight 1966; Lin 1991. Equal to scipy's kendalltau, and to the square of its
// jensenshannon.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace clearhead::explain {

/// NaN if one list is constant. All throw kInvalidArgument for lists of different lengths, empty lists, and numbers that are not finite.
double kendall(std::span<const double> x, std::span<const double> y);
double pearson(std::span<const double> x, std::span<const double> y);
double spearman(std::span<const double> x, std::span<const double> y);

/// Divergence of two distributions over the same items; each is divided by its sum first. NaN if either sums to zero. Throws also for a
/// negative share.
double jensen_shannon(std::span<const double> p, std::span<const double> q);

/// The row of a map as a distribution over the places that it shares with a row of another run: the weights at these places, then the sum
/// of all other weights. Empty if a weight is negative (linear attention) or NaN, or if all are zero, since such a row is not a
/// distribution.
std::vector<double> shared_row(std::span<const float> weights, std::span<const int64_t> places);

}  // namespace clearhead::explain
