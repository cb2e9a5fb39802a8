// Computes the measures in one pass over the weights and one over the sorted weights.
#include "explain/evaluate/clearness.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "metrics/checks.h"

namespace clearhead::explain {

Clearness clearness(std::span<const double> weights, std::span<const uint8_t> sinks) {
  metrics::check_sides("clearness", "weights", sinks.empty() ? weights.size() : sinks.size(), weights.size());
  metrics::check_finite("clearness", "weights", weights);
  double sum = 0;
  for (const double weight : weights) {
    if (weight < 0) fail(ErrorCode::kInvalidArgument, "clearness: a weight of {}; expected none below 0", weight);
    sum += weight;
  }
  if (sum == 0) fail(ErrorCode::kInvalidArgument, "clearness: all {} weights are zero; expected at least one above 0", weights.size());
  Clearness out;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double p = weights[i] / sum;
    if (p > 0) out.entropy -= p * std::log(p);
    if (!sinks.empty() && sinks[i]) out.sinks += p;
  }
  out.effective_keys = std::exp(out.entropy);
  std::vector<double> sorted(weights.begin(), weights.end());
  std::sort(sorted.begin(), sorted.end());
  const auto count = static_cast<double>(sorted.size());
  double below = 0;
  for (size_t k = 0; k < sorted.size(); ++k) below += sorted[k] / sum * (count - static_cast<double>(k) - 0.5) / count;
  out.gini = 1 - 2 * below;
  return out;
}

}  // namespace clearhead::explain
