// Measures of how concentrated a row of weights is, independent of what it explains.
//
//   entropy = −Σ p ln p (nats)      effective number of keys = exp(entropy)
//   Gini    = 1 − 2 Σ_k (p_(k) / Σp)·(n − k + ½)/n, p_(1) ≤ … ≤ p_(n): 0 if all are equal, 1 − 1/n if one has everything
//   sinks   = the share of the weight on a given set of keys (the first token, separators)
//
// Sources: Hill 1973 (order 1); Hurley & Rickard 2009. The entropies of a whole map, of any length, come from its reduction
// (clearhead/map.h).
#pragma once

#include <cstdint>
#include <span>

namespace clearhead::explain {

struct Clearness {
  double entropy = 0, gini = 0, effective_keys = 0;
  double sinks = 0;  // 0 … 1
};

/// weights: none below 0; they are divided by their sum first. The caller leaves out keys that the query does not see, because Gini
/// counts every item. sinks: one flag per weight, or empty for no sinks. Throws kInvalidArgument for empty weights, a weight that is
/// below 0 or not finite, weights that are all zero, and spans of different lengths.
Clearness clearness(std::span<const double> weights, std::span<const uint8_t> sinks = {});

}  // namespace clearhead::explain
