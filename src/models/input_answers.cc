// Answers of models whose input is not a text: encodes the inputs as a batch, runs the network, and converts its output.
#include <algorithm>

#include "base/format.h"
#include "clearhead/answers.h"
#include "models/encoded_input.h"
#include "models/input_kind.h"
#include "models/loaded_model.h"
#include "models/loaded_network.h"
#include "models/run_text.h"

namespace clearhead {
namespace {

constexpr size_t kInputsAtOnce = 32;
constexpr int64_t kLongestText = 512;  // maximum number of generated tokens if the model has no limit
constexpr const char* kReadsTexts = "does not take other kinds of input";

EncodedInput encoded(const LoadedNetwork& network, const ModelInput& input) {
  return encode_input(network.facts(), network.tokenizer_or_null(), input);
}

// Returns the model as a network that generates text from an input other than text. Throws kUnsupported for other models.
const LoadedNetwork& network_that_writes(const Model& model) {
  const LoadedNetwork& network = network_model(model, "does not transcribe sounds");
  network.check_writes();
  if (input_kind(model.info()).is_text()) {
    fail(ErrorCode::kUnsupported,
         "{}: a model of type \"{}\" reads a {}, which its tokenizer encodes; pass token ids instead of a ModelInput", model.info().name,
         model.info().model_type, model.info().reads);
  }
  return network;
}

std::vector<int32_t> write_greedily(const LoadedNetwork& network, const ModelInput& source, const Interventions& interventions) {
  const ModelInfo& info = network.info();
  const int64_t most = info.longest > 0 ? info.longest - 1 : kLongestText;
  ModelCache cache = read_inputs(network, {source}, DType::kF32, interventions);
  std::vector<int32_t> ids = {info.first_token};
  while (static_cast<int64_t>(ids.size()) <= most && ids.back() != network.facts().end_token) {
    const Tensor logits = network.step({ids.back()}, cache, {.interventions = interventions}).causal_logits;
    const float* values = logits.data<float>();
    ids.push_back(static_cast<int32_t>(std::max_element(values, values + info.vocabulary) - values));
  }
  ids.erase(ids.begin());
  return ids;
}

}  // namespace

std::vector<std::vector<ClassScore>> classify_inputs(const Model& model, const std::vector<ModelInput>& inputs,
                                                     const Interventions& interventions) {
  const LoadedNetwork& network = network_model(model, kReadsTexts);
  const std::vector<std::string>& labels = model.info().labels;
  if (labels.empty())
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" has no labels to choose from", model.info().name, model.info().model_type);
  if (!model.info().output.empty())
    fail(ErrorCode::kUnsupported, "{}: expected a classifier; the outputs of this model are of the kind \"{}\"", model.info().name,
         model.info().output);
  std::vector<std::vector<ClassScore>> out;
  for (size_t begin = 0; begin < inputs.size(); begin += kInputsAtOnce) {
    const size_t end = std::min(inputs.size(), begin + kInputsAtOnce);
    std::vector<EncodedInput> read;
    for (size_t at = begin; at < end; ++at) read.push_back(encoded(network, inputs[at]));
    std::vector<const EncodedInput*> ones;
    for (const EncodedInput& one : read) ones.push_back(&one);
    const EncodedBatch batch = collate(ones, network.facts().pad);
    const Tensor found = network.run_batch(batch.input, batch.source_or_null(), {.interventions = interventions}).class_logits;
    for (size_t at = 0; at < read.size(); ++at) out.push_back(class_scores(found.data<float>() + at * labels.size(), labels));
  }
  return out;
}

std::vector<ClassScore> summarise(const Model& model, const ModelInput& document, const Interventions& interventions) {
  constexpr const char* kRefusal = "does not select sentences of a document";
  const LoadedNetwork& network = network_model(model, kRefusal);
  if (model.info().output != "sentence") refuse(model, kRefusal);
  const EncodedInput read = encoded(network, document);
  std::vector<std::string> sentences = document.texts;  // without the sentences that encode_input() left out
  std::erase_if(sentences, [&](const std::string& sentence) { return model.tokenizer().encode(sentence).ids.empty(); });
  const Batch batch = collate_side({&read.input}, network.facts().pad);
  const Tensor weights = network.run_batch(batch, nullptr, {.interventions = interventions}).class_logits;
  std::vector<ClassScore> out;
  for (size_t at = 0; at < sentences.size(); ++at) out.push_back({std::move(sentences[at]), weights.data<float>()[at]});
  std::stable_sort(out.begin(), out.end(), [](const ClassScore& a, const ClassScore& b) { return a.probability > b.probability; });
  return out;
}

RunResult run_from_input(const Model& model, const ModelInput& source, const Encoding& target, const RunOptions& options) {
  const LoadedNetwork& network = network_that_writes(model);
  const NetworkFacts& facts = network.facts();
  const EncodedInput read = encoded(network, source);
  const Batch input = batch_of(target.ids), from = collate_side({&*read.source}, facts.pad);
  if (!options.observer) return network.run_batch(input, &from, options);
  RunOptions with_text = options;
  with_text.plan_text =
      input_kind(facts.reads).describe_written(run_text(target, network.tokenizer_or_null(), options.text), facts, *read.source);
  return network.run_batch(input, &from, with_text);
}

ModelCache read_inputs(const Model& model, const std::vector<ModelInput>& sources, DType dtype, const Interventions& interventions) {
  const LoadedNetwork& network = network_that_writes(model);
  std::vector<EncodedInput> read;
  for (const ModelInput& source : sources) read.push_back(encoded(network, source));
  std::vector<const EncodedSide*> sides;
  for (const EncodedInput& one : read) sides.push_back(&*one.source);
  return network.read(collate_side(sides, network.facts().pad), dtype, interventions);
}

RunResult observe(const Model& model, const ModelInput& input, Observer& observer, const Interventions& interventions) {
  const LoadedNetwork& network = network_model(model, kReadsTexts);
  const NetworkFacts& facts = network.facts();
  const Tokenizer* tokenizer = network.tokenizer_or_null();
  if (input_kind(facts.reads).has_target) {
    const WrittenText target = written_text(facts.first_token, write_greedily(network, input, interventions), tokenizer);
    return run_from_input(model, input, target.encoding, {.observer = &observer, .text = target.text, .interventions = interventions});
  }
  const EncodedInput read = encoded(network, input);
  const EncodedBatch batch = collate({&read}, facts.pad);
  return network.run_batch(batch.input, batch.source_or_null(),
                           {.observer = &observer, .interventions = interventions, .plan_text = describe_input(facts, tokenizer, input)});
}

std::optional<int64_t> selected_item(const Model& model, const ModelInput& input) {
  const auto* network = dynamic_cast<const LoadedNetwork*>(&model);
  const auto selected = network ? input_kind(network->facts().reads).selected : nullptr;
  return selected ? std::optional(selected(network->facts(), input)) : std::nullopt;
}

}  // namespace clearhead
