// Searches for the attention map that differs most from the model's own while the answer stays the same. If it differs much, the
// model's own map is only one of many that give this answer, and does not explain it (Jain & Wallace 2019, section 4.2.2; Wiegreffe &
// Pinter 2019).
//
//   P̃_h = softmax(s_h + b_h) for the row from which the answer is read, in one layer, all heads; everything else is unchanged
//         s_h: the scores of head h; b_h: numbers that are added to them; p(b): the answer's probability with them
//   b   = argmax mean_h JS(P_h, P̃_h)   subject to |p(b) − p(0)| ≤ tolerance; JS: Jensen–Shannon divergence (evaluate/agreement.h)
//
// b is found by gradient ascent: Adam (Kingma & Ba 2015) on JS − strength·max(0, |p(b) − p(0)| − tolerance), starting from random
// numbers, because the gradient of JS is zero at b = 0. The result is the farthest of all visited maps that keep the answer, so its
// divergence is a lower bound of the maximum. For comparison, the answer with equal weights in that row is reported as well.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "explain/attribution_target.h"

namespace clearhead::explain {

struct MovedMapOptions {
  std::optional<int> layer{};  ///< absent: the last layer
  double tolerance = 0.01;     ///< maximum change of the answer's probability
  int64_t steps = 60;          ///< steps of Adam: one forward and one backward pass each
  uint64_t seed = 1;
  const std::atomic<bool>* cancel = nullptr;
};

struct MovedMap {
  Site site{};
  double probability = 0;                ///< of the answer, with the model's own map
  double uniform = 0;                    ///< of the answer, with equal weights in this row
  double moved = 0;                      ///< JS in nats, mean over heads: 0 … ln 2; 0 if every map that moved changed the answer too much
  double kept = 0;                       ///< the answer's probability with the moved map
  std::vector<float> before{}, after{};  ///< [key] mean over heads
  Interventions::Scores scores{};        ///< the numbers that are added to the scores to get this map
};

/// Throws kUnsupported for attention that is not softmax, kCancelled, and what AttributionTarget::differentiate() throws.
MovedMap furthest_map(const AttributionTarget& target, const MovedMapOptions& options = {});

}  // namespace clearhead::explain
