// The answer of a run that another library computed, such as a PyTorch model that Python watched. Attribution methods that only need the
// attention and its gradients replay the calls of a trace; what the other library has to compute comes from functions.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "clearhead/trace.h"
#include "explain/attribution_target.h"

namespace clearhead::explain {

struct ReplayedRun {
  /// Has every row of every layer and, for methods with gradients, the gradients of the explained number.
  std::shared_ptr<const Trace> trace{};
  /// The attention calls in the order in which they ran. A site names the sides of its map where they differ from its family (sides.h).
  std::vector<Site> sites{};
  std::string answer{};  ///< a description of the answer for users
  double probability = 0;
  bool is_number = false;          ///< `probability` is a number in its own unit
  std::string side{};              ///< the side of maps from which the answer is read
  std::vector<int64_t> rows{};     ///< the positions on this side from which the answer's tokens are read
  Range written{};                 ///< AttributionTarget::written
  std::vector<Range> removable{};  ///< the initial items: single ids that can be removed

  /// The answer's probability without these ids, for each set.   removed: [set][id], 1: removed
  std::function<std::vector<double>(const std::vector<std::vector<uint8_t>>& removed, RemovedBy how)> answers{};
  /// The embeddings that a run starts from, and the gradient of the explained number in a run that starts from `scale` times them.
  std::function<std::vector<InputTape::Input>(float scale)> inputs{};
  /// AttributionTarget::mixed_vectors.
  std::function<Tensor(int layer, int64_t row)> mixed_vectors{};
  /// AttributionTarget::states_without_value.
  std::function<Tensor(int layer, int64_t token)> states_without_value{};
};

/// Throws kBudget for a trace that does not keep every row, kNotFound for a site that it does not have.
std::unique_ptr<AttributionTarget> make_replayed_target(ReplayedRun run);

}  // namespace clearhead::explain
