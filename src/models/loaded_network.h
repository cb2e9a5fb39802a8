// The Model that load() returns for a Network: converts inputs to batches, runs the network, and converts its output.
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

  // Models that generate text.
  RunResult run_from(const TokenBatch& source, const TokenBatch& target, const RunOptions& options) const override;
  RunResult run_from_input(const ModelInput& source, const Encoding& target, const RunOptions& options) const override;
  ModelCache read(const TokenBatch& source, DType dtype, const Interventions& interventions) const override;
  ModelCache read_inputs(const std::vector<ModelInput>& sources, DType dtype, const Interventions& interventions) const override;
  RunResult step(const std::vector<int32_t>& ids, ModelCache& cache, const RunOptions& options) const override;
  // Classifiers.
  std::vector<std::vector<ClassScore>> classify_inputs(const std::vector<ModelInput>& inputs,
                                                       const Interventions& interventions) const override;
  std::vector<ClassScore> summarise(const ModelInput& document, const Interventions& interventions) const override;
  /// Returns class_logits for a classifier and for info().chooses, otherwise causal_logits.
  RunResult run_batch(const Batch& input, const Batch* source, const RunOptions& options) const;
  const NetworkFacts& facts() const { return network_->facts(); }
  const Tokenizer* tokenizer_or_null() const { return tokenizer_.get(); }
  void observe(const ModelInput& input, Observer& observer, const Interventions& interventions) const override;

 private:
  Tensor logits(const Batch& input, const Batch* source, const RunOptions& options) const;
  void check_writes() const;
  void check_reads(bool is_text) const;
  ModelCache read(const Batch& source, DType dtype, const Interventions& interventions) const;
  std::vector<int32_t> write_greedily(const ModelInput& source, const Interventions& interventions) const;
  Batch checked(const TokenBatch& tokens) const;
  RunResult written(const Batch& source, const Batch& target, const RunOptions& options, const RunText& text) const;

  mutable Arena arena_{};  // for runs with gradients, only one of which runs at a time
  Parameters parameters_;  // the parameters of network_
  std::unique_ptr<Network> network_;
};

}  // namespace clearhead
