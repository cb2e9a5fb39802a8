// Tests whether an explanation depends on the model at all. Weights are randomised from the last layer down, and the scores of a
// method are compared with those of the trained model (Adebayo et al. 2018, cascading randomisation). A method whose ranking does not
// change reflects the text, not the model.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "explain/attribution.h"

namespace clearhead::explain {

struct SanityStep {
  std::string what{};  ///< what was randomised in this step, in addition to the steps before: "heads", "and layer 5", … "and embeddings"
  std::vector<double> agreement;  ///< [method] Kendall's tau with the trained model's scores, mean over questions; NaN: not defined
};

struct SanityOptions {
  std::vector<Method> methods{};
  AttributionOptions attribution{};
  uint64_t seed = 1;
  bool tokenizer = true;  ///< LoadOptions::tokenizer
  std::function<void(double fraction)> progress{};
};

/// Asks one question to a model. The answer must be named explicitly, since a random model would predict another one. A question over a
/// text must give the same items for every model.
using AskModel = std::function<std::unique_ptr<AttributionTarget>(const std::shared_ptr<const Model>&)>;

/// Matrices are drawn from a normal distribution with their own mean and standard deviation; vectors (norms, biases) stay unchanged.
/// Writes each stage as a model folder in the system's temporary directory and removes it afterwards. Throws what loading throws.
std::vector<SanityStep> sanity(const std::string& model, const std::vector<AskModel>& questions, const SanityOptions& options);

/// The same comparison with other trained models of the task: trained from another seed, or on shuffled labels (Adebayo et al. 2018, data
/// randomisation). `what` is the model's name. Throws kInvalidArgument for a model with other labels or another vocabulary.
std::vector<SanityStep> agreement_with(const std::string& model, const std::vector<std::string>& others,
                                       const std::vector<AskModel>& questions, const SanityOptions& options);

/// The stage at which each weight is randomised: 0 for heads, then layers from the last to the first, embeddings last.
struct RandomOrder {
  std::vector<std::string> what{};  ///< [stage] description
  std::vector<int> stage_of{};      ///< [name] in the order given
};
RandomOrder random_order(const std::vector<std::string>& names);

}  // namespace clearhead::explain
