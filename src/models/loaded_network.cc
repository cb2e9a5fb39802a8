// Runs a network: encodes the inputs as a batch, passes the plan to the observer, and runs the layers with a Compute.
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
namespace {

constexpr size_t kInputsAtOnce = 32;
constexpr int64_t kLongestText = 512;  // maximum number of generated tokens if the model has no limit

Encoding encoding_of(const TokenBatch& tokens) {
  Encoding out{.ids = {tokens.ids.begin(), tokens.ids.begin() + tokens.length}};
  out.type_ids.resize(out.ids.size());
  out.offsets.resize(out.ids.size());
  out.segment.resize(out.ids.size(), Encoding::kSpecial);
  return out;
}

}  // namespace

LoadedNetwork::LoadedNetwork(ModelInfo info, const Json& config, std::shared_ptr<const Tokenizer> tokenizer)
    : Model(std::move(info), std::move(tokenizer)),
      parameters_(Parameters::read(info_.directory + "/model.safetensors")),
      network_(network_of(config, info_.directory + "/config.json", parameters_)) {
  parameters_.check_all_used();
}

void LoadedNetwork::check_writes() const {
  if (!info_.has_causal)
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\", which reads a {}, writes no text", info_.name, info_.model_type,
         info_.reads);
}

// Throws kUnsupported unless the model generates text, from a source that is a text (is_text) or another input (!is_text).
void LoadedNetwork::check_reads(bool is_text) const {
  check_writes();
  if (is_text == input_kind(info_).is_text()) return;
  fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" reads a {}, {}", info_.name, info_.model_type, info_.reads,
       is_text ? "not a text" : "which the tokenizer encodes; it takes no ModelInput");
}

Batch LoadedNetwork::checked(const TokenBatch& tokens) const {
  check_writes();
  check_tokens(tokens, info_.vocabulary, info_.longest);
  if (!tokens.position_ids.empty() || !tokens.document_ids.empty())
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" takes no position ids and no document ids; leave them empty", info_.name,
         info_.model_type);
  return {.batch = tokens.batch, .length = tokens.length, .ids = tokens.ids, .lengths = tokens.lengths};
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

RunResult LoadedNetwork::written(const Batch& source, const Batch& target, const RunOptions& options, const RunText& text) const {
  if (source.batch != target.batch)
    fail(ErrorCode::kShape, "run: {} targets for {} sources; expected one for each", target.batch, source.batch);
  const auto turn = take_turn();
  if (options.observer)
    options.observer->begin(plan_of_run(info_.name, text, [&](Observer& observer) {
      logits(target, &source, {.observer = &observer, .interventions = options.interventions});
    }));
  return {.causal_logits = logits(target, &source, options).reshape({target.batch, target.length, info_.vocabulary})};
}

RunResult LoadedNetwork::run_from(const TokenBatch& source, const TokenBatch& target, const RunOptions& options) const {
  check_reads(/*is_text=*/true);
  const Tokenizer* tokenizer = tokenizer_.get();
  const Batch read = checked(source), input = checked(target);
  const RunText text = options.plan_text ? *options.plan_text
                                         : joined(run_text(encoding_of(source), tokenizer, options.source.value_or("")),
                                                  run_text(encoding_of(target), tokenizer, options.text.value_or("")));
  return written(read, input, options, text);
}

RunResult LoadedNetwork::run_from_input(const ModelInput& source, const Encoding& target, const RunOptions& options) const {
  check_reads(/*is_text=*/false);
  const NetworkFacts& facts = network_->facts();
  const EncodedInput read = encode_input(facts, tokenizer_.get(), source);
  const RunText text = input_kind(facts.reads).describe_written(run_text(target, tokenizer_.get(), options.text), facts, *read.source);
  return written(collate_side({&*read.source}, facts.pad), checked(batch_of(target.ids)), options, text);
}

ModelCache LoadedNetwork::read(const Batch& source, DType dtype, const Interventions& interventions) const {
  const auto turn = take_turn();
  ModelCache cache{.dtype = dtype, .batch = source.batch};
  Compute compute({.operands = info_.precision, .interventions = interventions});
  network_->read(compute, source, cache);
  cache.source_lengths.resize(static_cast<size_t>(source.batch), static_cast<int32_t>(source.length));
  return cache;
}

ModelCache LoadedNetwork::read(const TokenBatch& source, DType dtype, const Interventions& interventions) const {
  check_reads(/*is_text=*/true);
  return read(checked(source), dtype, interventions);
}

ModelCache LoadedNetwork::read_inputs(const std::vector<ModelInput>& sources, DType dtype, const Interventions& interventions) const {
  check_reads(/*is_text=*/false);
  std::vector<EncodedInput> read_ones;
  for (const ModelInput& source : sources) read_ones.push_back(encode_input(network_->facts(), tokenizer_.get(), source));
  std::vector<const EncodedSide*> readings;
  for (const EncodedInput& one : read_ones) readings.push_back(&*one.source);
  return read(collate_side(readings, network_->facts().pad), dtype, interventions);
}

RunResult LoadedNetwork::step(const std::vector<int32_t>& ids, ModelCache& cache, const RunOptions& options) const {
  check_writes();
  if (static_cast<int64_t>(ids.size()) != cache.batch || cache.states.empty())
    fail(ErrorCode::kShape, "step: {} ids for {} sequences; expected one for each, and a cache that read() made", ids.size(), cache.batch);
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

std::vector<std::vector<ClassScore>> LoadedNetwork::classify_inputs(const std::vector<ModelInput>& inputs,
                                                                    const Interventions& interventions) const {
  if (info_.labels.empty())
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" has no labels to choose from", info_.name, info_.model_type);
  const auto labels = static_cast<int64_t>(info_.labels.size());
  const auto turn = take_turn();
  std::vector<std::vector<ClassScore>> out;
  for (size_t begin = 0; begin < inputs.size(); begin += kInputsAtOnce) {
    const size_t end = std::min(inputs.size(), begin + kInputsAtOnce);
    std::vector<EncodedInput> read;
    for (size_t at = begin; at < end; ++at) read.push_back(encode_input(network_->facts(), tokenizer_.get(), inputs[at]));
    std::vector<const EncodedInput*> ones;
    for (const EncodedInput& one : read) ones.push_back(&one);
    const EncodedBatch batch = collate(ones, network_->facts().pad);
    const Tensor found = logits(batch.input, batch.source_or_null(), {.interventions = interventions});
    for (size_t at = 0; at < read.size(); ++at)
      out.push_back(class_scores(found.data<float>() + static_cast<int64_t>(at) * labels, info_.labels));
  }
  return out;
}

std::vector<ClassScore> LoadedNetwork::summarise(const ModelInput& document, const Interventions& interventions) const {
  if (!info_.chooses) return Model::summarise(document, interventions);
  const NetworkFacts& facts = network_->facts();
  const EncodedInput read = encode_input(facts, tokenizer_.get(), document);
  std::vector<std::string> sentences = document.texts;  // without the sentences that encode_input() left out
  std::erase_if(sentences, [&](const std::string& sentence) { return tokenizer_->encode(sentence).ids.empty(); });
  const auto turn = take_turn();
  const Tensor weights = logits(collate_side({&read.input}, facts.pad), nullptr, {.interventions = interventions});
  std::vector<ClassScore> out;
  for (size_t at = 0; at < sentences.size(); ++at) out.push_back({std::move(sentences[at]), weights.data<float>()[at]});
  std::stable_sort(out.begin(), out.end(), [](const ClassScore& a, const ClassScore& b) { return a.probability > b.probability; });
  return out;
}

RunResult LoadedNetwork::run_batch(const Batch& input, const Batch* source, const RunOptions& options) const {
  const auto turn = take_turn();
  const Tensor found = logits(input, source, options);
  if (info_.has_classifier || info_.chooses) return {.class_logits = found};
  return {.causal_logits = found.reshape({input.batch, input.length, info_.vocabulary})};
}

RunResult run_batch(const Model& model, const Batch& input, const Batch* source, const RunOptions& options) {
  if (const auto* network = dynamic_cast<const LoadedNetwork*>(&model)) return network->run_batch(input, source, options);
  const auto tokens = [](const Batch& rows) {
    return TokenBatch{.batch = rows.batch, .length = rows.length, .ids = rows.ids, .type_ids = rows.type_ids, .lengths = rows.lengths};
  };
  return source ? model.run_from(tokens(*source), tokens(input), options) : model.run(tokens(input), options);
}

std::vector<int32_t> LoadedNetwork::write_greedily(const ModelInput& source, const Interventions& interventions) const {
  const int64_t most = info_.longest > 0 ? info_.longest - 1 : kLongestText;
  ModelCache cache = read_inputs({source}, DType::kF32, interventions);
  std::vector<int32_t> ids = {info_.first_token};
  while (static_cast<int64_t>(ids.size()) <= most && ids.back() != network_->facts().end_token) {
    const Tensor logits = step({ids.back()}, cache, {.interventions = interventions}).causal_logits;
    const float* values = logits.data<float>();
    ids.push_back(static_cast<int32_t>(std::max_element(values, values + info_.vocabulary) - values));
  }
  ids.erase(ids.begin());
  return ids;
}

void LoadedNetwork::observe(const ModelInput& input, Observer& observer, const Interventions& interventions) const {
  const NetworkFacts& facts = network_->facts();
  if (input_kind(facts.reads).has_target) {
    const WrittenText target = written_text(info_.first_token, write_greedily(input, interventions), tokenizer_.get());
    run_from_input(input, target.encoding, {.observer = &observer, .text = target.text, .interventions = interventions});
    return;
  }
  const EncodedInput read = encode_input(facts, tokenizer_.get(), input);
  const EncodedBatch batch = collate({&read}, facts.pad);
  const auto turn = take_turn();
  const auto run = [&](Observer& watching) {
    logits(batch.input, batch.source_or_null(), {.observer = &watching, .interventions = interventions});
  };
  observer.begin(plan_of_run(info_.name, describe_input(facts, tokenizer_.get(), input), run));
  run(observer);
}

}  // namespace clearhead
