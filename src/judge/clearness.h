// How clear a row of weights is, whatever it explains.
//
//   entropy = −Σ p ln p (nats)      effective number of keys = exp(entropy)
//   Gini    = 1 − 2 Σ_k (p_(k) / Σp)·(n − k + ½)/n, p_(1) ≤ … ≤ p_(n): 0 where all are equal, 1 − 1/n where one has all
//   sinks   = the share of the weight that keys of a given set take (the first token, separators)
//
// Sources: Hill 1973 (order 1); Hurley & Rickard 2009. A whole map's entropies come from its sweep (clearhead/map.h) at any length.
#pragma once

#include <cstdint>
#include <span>

namespace clearhead::judge {

struct Clearness {
  double entropy = 0, gini = 0, effective_keys = 0;
  double sinks = 0;  // 0 … 1
};

/// weights: none below 0, divided by their sum first; those a query does not see are left out by the caller, for Gini counts every item. sinks: a flag per
/// weight, or empty for none. Throws kInvalidArgument for no weights, one below 0 or not finite, all zero, and sides of different lengths.
Clearness clearness(std::span<const double> weights, std::span<const uint8_t> sinks = {});

}  // namespace clearhead::judge
