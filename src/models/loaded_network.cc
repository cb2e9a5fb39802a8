// Runs a network: checks the batch, passes the plan to the observer, and runs the layers with a Compute.
#include "models/loaded_network.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/tokenizer.h"
#include "clearhead/trace.h"
#include "models/encoded_input.h"
#include "models/input_kind.h"
#include "models/loaded_model.h"
#include "models/run_text.h"
#include "ops/run_compute.h"

namespace clearhead {
LoadedNetwork::LoadedNetwork(ModelInfo info, const Json& config, std::shared_ptr<const Tokenizer> tokenizer)
    : Model(std::move(info), std::move(tokenizer)),
      parameters_(Parameters::read(info_.directory + "/model.safetensors")),
      network_(network_of(config, info_.directory + "/config.json", parameters_)) {
  parameters_.check_all_used();
}

void LoadedNetwork::check_writes() const {
  if (!info_.has_causal) refuse(*this, "does not generate text");
}

void LoadedNetwork::check_ids(const Batch& batch) const {
  check_tokens(batch, info_.vocabulary, info_.longest);
  if (!batch.position_ids.empty() || !batch.document_ids.empty())
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" does not take position ids or document ids; leave them empty", info_.name,
         info_.model_type);
}

// Checks the source of a model that generates text.
void LoadedNetwork::check_source(const Batch& source) const {
  check_writes();
  const bool is_text = !source.features.defined();
  if (is_text != input_kind(info_).is_text()) {
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" reads a {}, {}", info_.name, info_.model_type, info_.reads,
         is_text ? "not a text" : "which its tokenizer encodes; pass token ids instead of a ModelInput");
  }
  if (is_text) check_ids(source);
}

Tensor LoadedNetwork::logits(const Batch& input, const Batch* source, const RunOptions& options) const {
  if (options.recorder) {
    const Run run{.arena = arena_, .observer = options.observer, .recorder = options.recorder, .eval_mode = true};
    RunCompute compute(run, options.interventions);
    return network_->logits(compute, input, source);
  }
  Compute compute({.observer = options.observer, .operands = info_.precision, .interventions = options.interventions});
  return network_->logits(compute, input, source);
}

RunResult LoadedNetwork::run_batch(const Batch& input, const Batch* source, const RunOptions& options) const {
  const InputKind& kind = input_kind(info_);
  if (kind.has_target) {
    if (!source) fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" reads a source; use run_from()", info_.name, info_.model_type);
    check_source(*source);
    check_ids(input);
    if (source->batch != input.batch)
      fail(ErrorCode::kShape, "run: {} targets for {} sources; expected one for each", input.batch, source->batch);
  } else if (kind.is_text()) {
    if (source) fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" reads one text; use run()", info_.name, info_.model_type);
    check_ids(input);
  } else if (kind.has_question != (source != nullptr) ||
             (!source && !input.features.defined() && !input.graph && input.groups.length == 0)) {
    refuse(*this, "cannot run over a single sequence of token ids");
  }
  const auto turn = take_turn();
  if (options.observer && options.plan_text) options.observer->begin(plan_of(input, source, *options.plan_text, options.interventions));
  const Tensor found = logits(input, source, options);
  if (info_.has_classifier || !info_.output.empty()) return {.class_logits = found};
  return {.causal_logits = found.reshape({input.batch, input.length, info_.vocabulary})};
}

RunPlan LoadedNetwork::plan_of(const Batch& input, const Batch* source, const RunText& text, const Interventions& interventions) const {
  Tensor outputs;
  RunPlan plan = plan_of_run(info_.name, text, [&](Observer& observer) {
    outputs = logits(input, source, {.observer = &observer, .interventions = interventions});
  });
  network_->describe_predictions(outputs, plan.text);
  return plan;
}

RunPlan LoadedNetwork::plan_of(const Encoding& encoding, const RunOptions& options) const {
  if (const InputKind& kind = input_kind(info_); !kind.is_text() || kind.has_target)
    refuse(*this, "cannot run over a single sequence of token ids");
  const Batch input = batch_of(encoding.ids);
  check_ids(input);
  const auto turn = take_turn();
  return plan_of(input, nullptr, run_text(encoding, tokenizer_.get(), options.text, options.pair), options.interventions);
}

ModelCache LoadedNetwork::read(const Batch& source, DType dtype, const Interventions& interventions) const {
  check_source(source);
  const auto turn = take_turn();
  ModelCache cache{.dtype = dtype, .batch = source.batch};
  Compute compute({.operands = info_.precision, .interventions = interventions});
  network_->read(compute, source, cache);
  cache.source_lengths.resize(static_cast<size_t>(source.batch), static_cast<int32_t>(source.length));
  return cache;
}

RunResult LoadedNetwork::step(const std::vector<int32_t>& ids, ModelCache& cache, const RunOptions& options) const {
  check_writes();
  if (static_cast<int64_t>(ids.size()) != cache.batch || cache.states.empty())
    fail(ErrorCode::kShape, "step: {} ids for {} sequences; expected one for each, and a cache returned by read()", ids.size(),
         cache.batch);
  check_tokens({.batch = cache.batch, .length = 1, .ids = ids}, info_.vocabulary, 0);
  check_length(cache.length + 1, info_.longest);
  const auto turn = take_turn();
  // The states already have one row per sequence: beam search starts with one beam per source.
  Compute compute({.observer = options.observer, .operands = info_.precision, .interventions = options.interventions});
  RunResult result{.causal_logits = network_->step(compute, ids, cache).reshape({cache.batch, 1, info_.vocabulary})};
  ++cache.length;
  ++cache.step;
  return result;
}

const LoadedNetwork& network_model(const Model& model, std::string_view refusal) {
  const auto* network = dynamic_cast<const LoadedNetwork*>(&model);
  if (!network) refuse(model, refusal);
  return *network;
}

}  // namespace clearhead
