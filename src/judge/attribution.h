// How much each part of an input has to do with one answer, by the methods of the literature. None makes an N×N matrix: products of
// whole maps with a vector (map.h) take their place.
//
//   r is a row vector over tokens that starts as 1 at the rows that the answer is read from; layers go from the last to the first.
//     rollout     r ← ½r + ½·mean_h rᵀP                                          (Abnar & Zuidema 2020, section 3.1)
//     relevance   r ← r + mean_h rᵀ(P ⊙ ∂y/∂P)⁺                                  (Chefer, Gur & Wolf 2021b, eq. 5 and 6)
//                 shares are r − the 1 that it starts as: what attention brought, as in their eq. 8 and 9. The 1 stays the same
//                 whatever the gradients' size, so beside small ones the row's own token would have nearly everything
//   Cross-attention joins a decoder to its source: rollout halves r again, relevance follows eq. 8 to 11 of Chefer et al.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "judge/subject.h"

namespace clearhead::judge {

enum class Method : uint8_t {
  kAttention,          ///< P of the last layer (of an encoder-decoder: of cross-attention), mean of heads or one head
  kRollout,            ///< whole maps of all layers multiplied
  kFlow,               ///< the most that flows through them, of texts up to 128 tokens (flow.h)
  kValueWeighted,      ///< P·‖v‖ of the last layer (Kobayashi et al. 2020)
  kOutputWeighted,     ///< P·‖v·W_O‖ of the last layer (ibid., eq. 5)
  kMixed,              ///< of all heads together with residual and norm, last layer (Kobayashi et al. 2021)
  kAttentionGradient,  ///< P ⊙ ∂y/∂P of the last layer, signed
  kRelevance,          ///< of Chefer et al. 2021
  kGradientInput,      ///< x·∂y/∂x of each embedding, signed (Shrikumar et al. 2017)
  kIntegrated,         ///< integrated gradients from embeddings of zeros (Sundararajan et al. 2017, eq. 1)
  kOcclusion,          ///< what the probability loses without the item (Zeiler & Fergus 2014)
};
struct MethodInfo {
  Method method{};
  const char* name = "";         ///< "attention", "rollout", …
  const char* what = "";         ///< one line for a person
  bool needs_gradients = false;  ///< a model loaded with LoadOptions::gradients
  bool of_a_layer = false;       ///< looks at one layer: AttributionOptions::layer
  bool of_heads = false;         ///< looks at heads one by one: AttributionOptions::head
};
/// In the order of the enum.
const std::vector<MethodInfo>& attribution_methods();
/// Throws kNotFound, with the names there are.
const MethodInfo& method_named(const std::string& name);

struct AttributionOptions {
  std::optional<int> layer{};              ///< of methods of a layer (MethodInfo::of_a_layer); absent: the last
  std::optional<int64_t> head{};           ///< of methods of heads (MethodInfo::of_heads); absent: the mean of all
  int64_t steps = 32;                      ///< of kIntegrated: midpoints of equal stretches
  RemovedBy removal = RemovedBy::kUnseen;  ///< of kOcclusion
  std::function<void(double fraction)> progress{};
  const std::atomic<bool>* cancel = nullptr;  ///< kOcclusion then gives what there is: NaN for the rest; others throw kCancelled
};

/// Throws kInvalidArgument, with the methods that use it, for a layer or a head that none of these methods uses, or that the
/// model does not have.
void check_used(const AttributionOptions& options, const std::vector<MethodInfo>& methods, const Subject& subject);

/// A share for each item of the subject: a sum over its tokens, of no fixed total; larger: speaks more for the answer. Signed
/// methods say what speaks against it by negative shares.
/// Throws kUnsupported, saying why, where the model does not have what the method needs; kInvalidArgument for a layer or head that is
/// not there; kBudget for relevance over more than 4,096 written tokens and for flow over more than 128.
std::vector<double> attribute(const Subject& subject, Method method, const AttributionOptions& options = {});

/// Runs of the model that a method takes, a backward pass counted as two, for a budget that is said before it is spent.
int64_t runs_of(const Subject& subject, Method method, const AttributionOptions& options = {});

}  // namespace clearhead::judge
