// Does an explanation depend on the model at all? Weights become random from the last layer down, and a method's scores are held against
// those of the trained model (Adebayo et al. 2018, cascading randomisation). A method whose ranking stays shows the text, not the model.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "judge/attribution.h"

namespace clearhead::judge {

struct SanityStep {
  std::string what{};             ///< what is random by now: "heads", "and layer 5", … "and embeddings"
  std::vector<double> agreement;  ///< [method] Kendall's tau with the trained model's scores, mean over questions; NaN: not defined
};

struct SanityOptions {
  std::vector<MethodInfo> methods{};
  AttributionOptions attribution{};
  uint64_t seed = 1;
  bool tokenizer = true;  ///< LoadOptions::tokenizer
  std::function<void(double fraction)> progress{};
};

/// A question to one model; the answer it asks for must be named, since a random model would answer another. Questions over the same
/// text have the same items for every model.
using AskModel = std::function<std::unique_ptr<Subject>(const std::shared_ptr<const Model>&)>;

/// Matrices are drawn from a normal distribution of their own mean and standard deviation; vectors (norms, biases) stay.
/// Writes each stage as a model folder in the system's temporary directory, and removes it. Throws what loading does.
std::vector<SanityStep> sanity(const std::string& model, const std::vector<AskModel>& questions, const SanityOptions& options);

/// The same against other trained models of the task: of another seed, or trained on shuffled labels (Adebayo et al. 2018, data
/// randomisation). `what` is the model's name. Throws kInvalidArgument for one of other
/// labels or another vocabulary.
std::vector<SanityStep> agreement_with(const std::string& model, const std::vector<std::string>& others,
                                       const std::vector<AskModel>& questions, const SanityOptions& options);

/// The stage at which a weight becomes random: 0 for heads, then layers from the last to the first, embeddings last.
struct RandomOrder {
  std::vector<std::string> what{};  ///< of each stage
  std::vector<int> stage_of{};      ///< of each name given
};
RandomOrder random_order(const std::vector<std::string>& names);

}  // namespace clearhead::judge
