// The Model that load() returns for a Network: checks batches, runs the network, and converts its output.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "models/network.h"
#include "ops/run.h"

namespace clearhead {

class LoadedNetwork final : public Model {
 public:
  /// Reads the weights. Throws as network_of() and Parameters::read().
  LoadedNetwork(ModelInfo info, const Json& config, std::shared_ptr<const Tokenizer> tokenizer);

  /// Returns class_logits for a classifier and for a model with info().output, otherwise causal_logits.
  RunResult run_batch(const Batch& input, const Batch* source, const RunOptions& options) const override;
  ModelCache read(const Batch& source, DType dtype, const Interventions& interventions) const override;
  /// The plan of a run over one text. Throws kUnsupported if the network reads another kind of input.
  RunPlan plan_of(const Encoding& encoding, const RunOptions& options) const;
  RunResult step(const std::vector<int32_t>& ids, ModelCache& cache, const RunOptions& options) const override;

  const NetworkFacts& facts() const { return network_->facts(); }
  const Tokenizer* tokenizer_or_null() const { return tokenizer_.get(); }
  void check_writes() const;

 private:
  // Runs the network once to observe which attention it computes.
  RunPlan plan_of(const Batch& input, const Batch* source, const RunText& text, const Interventions& interventions) const;
  Tensor logits(const Batch& input, const Batch* source, const RunOptions& options) const;
  void check_ids(const Batch& batch) const;
  void check_source(const Batch& source) const;

  mutable Arena arena_{};  // for runs with gradients, only one of which runs at a time
  Parameters parameters_;  // the parameters of network_
  std::unique_ptr<Network> network_;
};

/// Returns the model if it is a network. Throws kUnsupported for other models; `refusal` completes the sentence that begins
/// with the model: "is given texts, not inputs of other kinds".
const LoadedNetwork& network_model(const Model& model, std::string_view refusal);

}  // namespace clearhead
