// How far can a map move while the answer stays? If far, the map that a model shows is one of many that would do, and no
// explanation of this answer (Jain & Wallace 2019, section 4.2.2; Wiegreffe & Pinter 2019).
//
//   P̃_h = softmax(s_h + b_h) of the row that the answer is read from, in one layer, all heads; everything else as it was
//   b   = argmax mean_h JS(P_h, P̃_h)   while |p(b) − p(0)| ≤ tolerance
//
// b is found by gradient: Adam (Kingma & Ba 2015) on JS − strength·max(0, |p(b) − p(0)| − tolerance), from random numbers,
// because JS has none at b = 0. Of all maps that were visited and keep the answer the one that moved farthest counts, so
// what is reported is a lower bound. Beside it stands what equal weights in that row make of the answer.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "judge/subject.h"

namespace clearhead::judge {

struct MovedMapOptions {
  std::optional<int> layer{};  ///< absent: the last
  double tolerance = 0.01;     ///< of the probability
  int64_t steps = 60;          ///< of Adam: a pass forward and back each
  uint64_t seed = 1;
  const std::atomic<bool>* cancel = nullptr;
};

struct MovedMap {
  Site site{};
  double probability = 0;                ///< of the answer, with the model's own map
  double uniform = 0;                    ///< with equal weights in this row
  double moved = 0;                      ///< JS in nats, mean over heads: 0 … ln 2; 0 if every map that moved took the answer with it
  double kept = 0;                       ///< the answer's probability with that map
  std::vector<float> before{}, after{};  ///< [key] mean over heads
  Interventions::Scores scores{};        ///< that make it
};

/// Throws kUnsupported for attention that is no softmax, and what Subject::differentiate does; kCancelled.
MovedMap furthest_map(const Subject& subject, const MovedMapOptions& options = {});

}  // namespace clearhead::judge
