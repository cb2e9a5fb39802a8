// Attribution of one answer to the parts of the input, by methods of the literature. Whole maps are multiplied with a vector (map.h), so
// no N×N matrix is stored, except by flow and, for the decoder of an encoder-decoder, by relevance; both limit the length.
//
//   r is a vector over tokens. It starts as 1/n at the n rows from which the answer is read; layers are visited from last to first.
//   y is the explained number (attribution_target.h), P a map, and x⁺ = max(0, x).
//     rollout     r ← ½r + ½·mean_h rᵀP                                          (Abnar & Zuidema 2020, section 3.1)
//     relevance   r ← r + mean_h rᵀ(P ⊙ ∂y/∂P)⁺                                  (Chefer, Gur & Wolf 2021b, eq. 5 and 6)
//                 The shares are r minus its initial value: the contribution of attention, as in their eq. 8 and 9. The initial
//                 value is subtracted because with small gradients it would give the answer's own rows nearly everything.
//   Cross-attention connects a decoder to its source: rollout halves r again, relevance follows eq. 8 to 11 of Chefer et al.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "explain/attribution_target.h"

namespace clearhead::explain {

enum class Method : uint8_t {
  kAttention,          ///< P of the last layer (encoder-decoders: of the last cross-attention), mean over heads or one head
  kRollout,            ///< the product of the maps of all layers
  kFlow,               ///< the maximum flow through the maps of all layers, for texts of up to 128 tokens (flow.h)
  kValueWeighted,      ///< P·‖v‖ of the last layer (Kobayashi et al. 2020)
  kOutputWeighted,     ///< P·‖v·W_O‖ of the last layer (ibid., eq. 5)
  kMixed,              ///< all heads together, with residual connection and norm, last layer (Kobayashi et al. 2021)
  kAttentionGradient,  ///< P ⊙ ∂y/∂P of the last layer, signed
  kRelevance,          ///< Chefer et al. 2021
  kGradientInput,      ///< x·∂y/∂x of each embedding, signed (Shrikumar et al. 2017)
  kIntegrated,         ///< integrated gradients from embeddings of zeros (Sundararajan et al. 2017, eq. 1)
  kOcclusion,          ///< the decrease in the answer's probability when the item is removed (Zeiler & Fergus 2014)
};
struct MethodInfo {
  Method method{};
  const char* name = "";         ///< "attention", "rollout", …
  const char* what = "";         ///< a one-line description for users
  bool needs_gradients = false;  ///< needs a model loaded with LoadOptions::gradients
  bool of_a_layer = false;       ///< uses a single layer: AttributionOptions::layer
  bool of_heads = false;         ///< can use a single head: AttributionOptions::head
};
/// In the order of the enum.
const std::vector<MethodInfo>& attribution_methods();
/// Throws kNotFound, with the names that exist.
const MethodInfo& method_named(const std::string& name);

struct AttributionOptions {
  std::optional<int> layer{};     ///< for methods that use a single layer (MethodInfo::of_a_layer); absent: the last layer
  std::optional<int64_t> head{};  ///< for methods that can use a single head (MethodInfo::of_heads); absent: the mean over all heads
  int64_t steps = 32;             ///< for kIntegrated: number of intervals, evaluated at their midpoints
  RemovedBy removal = RemovedBy::kUnseen;  ///< for kOcclusion
  std::function<void(double fraction)> progress{};
  const std::atomic<bool>* cancel = nullptr;  ///< kOcclusion then returns a partial result, NaN for the rest; others throw kCancelled
};

/// Throws kInvalidArgument if a layer or a head is set that none of these methods uses (the message names the methods that do), or a layer
/// that the model does not have.
void check_used(const AttributionOptions& options, const std::vector<MethodInfo>& methods, const AttributionTarget& target);

/// Returns a share for each item of the target: the sum over its tokens, not normalised. Larger values are stronger evidence for
/// the answer. Signed methods give negative shares to evidence against it. Throws kUnsupported, with the reason, if the model does not
/// have what the method needs; kInvalidArgument for a layer or head that does not exist; kBudget for relevance over more than 4,096
/// generated tokens and for flow over more than 128 tokens.
std::vector<double> attribute(const AttributionTarget& target, Method method, const AttributionOptions& options = {});

/// The cost of a method in runs of the model, for an estimate before the computation starts. A backward pass counts as two runs.
int64_t runs_of(const AttributionTarget& target, Method method, const AttributionOptions& options = {});

}  // namespace clearhead::explain
