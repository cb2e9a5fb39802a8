// Mechanisms inside the model that produce one answer: the heads that it depends on, the direct contribution of each head, the answer
// that each layer would give, and activation patching between two texts.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "clearhead/residual_stream.h"
#include "explain/attribution_target.h"

namespace clearhead::explain {

struct HeadEffect {
  std::string family{};
  int layer = 0;
  int64_t head = 0;
  double value = 0;
};

struct InsideOptions {
  std::function<void(double fraction)> progress{};
  const std::atomic<bool>* cancel = nullptr;  ///< stops and returns the partial result
};

/// The decrease in the answer's probability when a head's output is set to zero (Michel, Levy & Neubig 2019, eq. 2). One run per head.
std::vector<HeadEffect> heads_by_knock_out(const AttributionTarget& target, const InsideOptions& options = {});
/// |∂y/∂ξ| for a factor ξ = 1 on a head's output O: |Σ_i dO_i·O_i| with dO = ∂y/∂O (ibid., eq. 3 for one text). One
/// forward and one backward pass.
std::vector<HeadEffect> heads_by_gradient(const AttributionTarget& target);
/// The direct contribution of each head to y: its output at the row from which the answer is read, through the final norm (with its
/// scale held fixed) and the unembedding (direct logit attribution: Elhage et al. 2021, "A mathematical framework"). Throws
/// kUnsupported for models that do not predict next tokens.
std::vector<HeadEffect> heads_by_what_they_add(const AttributionTarget& target);

/// The answer that a layer would give if it were the last one (logit lens). Layer 0: the embeddings.
struct LayerAnswer {
  int layer = 0;
  double probability = 0;  ///< of the target's answer
  std::string best{};      ///< the most probable token
  double best_probability = 0;
};
std::vector<LayerAnswer> logit_lens(const AttributionTarget& target);

/// "embeddings", "L0.H3", "L0 MLP", "biases": the name of a component that split_score() returns; for an encoder-decoder, "cross L0.H3".
std::string part_name(const ScorePart& part);

/// Activation patching (Vig et al. 2020; Meng et al. 2022): runs the corrupted text with one head's outputs replaced by those of the clean
/// text, at all positions. The value is the recovered part of the answer: (y − y_corrupted)/(y_clean − y_corrupted). One run per head.
/// Both targets must have the same answer and the same model, over texts with the same number of tokens; else throws kInvalidArgument.
std::vector<HeadEffect> heads_by_patching(const AttributionTarget& clean, const AttributionTarget& corrupted,
                                          const InsideOptions& options = {});
/// The same for one head, position by position.
std::vector<double> places_by_patching(const AttributionTarget& clean, const AttributionTarget& corrupted, const HeadEffect& head);

}  // namespace clearhead::explain
