// Finds the network of a config.json, and reads the fields that all networks share.
#include "models/network.h"

#include "base/format.h"
#include "clearhead/error.h"
#include "models/input_kind.h"
#include "models/networks/networks.h"

namespace clearhead {
namespace {

const NetworkKind* kind_of(const Json& config) {
  const Json* type = config.find("model_type");
  for (const NetworkKind* kind : network_kinds()) {
    if (type && type->is_string() && type->string() == kind->model_type) return kind;
  }
  return nullptr;
}

int32_t token_or(Fields& fields, const char* name, int64_t otherwise, int64_t vocabulary) {
  const int64_t id = fields.integer_or(name, otherwise);
  if (id < 0 || (vocabulary > 0 && id >= vocabulary))
    fields.wrong(name, vocabulary > 0 ? format("a token id below {}", vocabulary) : "0 or more", Json(id));
  return static_cast<int32_t>(id);
}

// Reads "id2label": {"0": "no", "1": "yes"}.
std::vector<std::string> labels_of(Fields& fields) {
  std::vector<std::string> labels;
  const Json* named = fields.take("id2label");
  if (!named) return labels;
  for (size_t id = 0; id < named->size(); ++id) {
    const Json* label = named->find(std::to_string(id));
    if (!label || !label->is_string()) fields.wrong("id2label", format("a label for class {}", id), *named);
    labels.push_back(label->string());
  }
  return labels;
}

}  // namespace

bool is_network(const Json& config) { return kind_of(config) != nullptr; }

std::string what_is_read(const Json& config) {
  const NetworkKind* kind = kind_of(config);
  return kind ? kind->reads : "text";
}

std::string network_types() {
  std::string known;
  for (const NetworkKind* kind : network_kinds()) known += (known.empty() ? "" : ", ") + std::string(kind->model_type);
  return known;
}

std::unique_ptr<Network> network_of(const Json& config, const std::string& where, Parameters& parameters) {
  const NetworkKind* kind = kind_of(config);
  if (!kind) return nullptr;
  Fields fields(config, where);
  NetworkFacts facts{.reads = kind->reads};
  // Fields that do not change what the network computes: provenance, tokens for generation, names of labels.
  for (const char* name : {"model_type", "architectures", "torch_dtype", "dtype", "label2id", "forced_eos_token_id", "is_encoder_decoder",
                           "task_specific_params"})
    fields.take(name);
  facts.vocabulary = fields.integer_or("vocab_size", 0);
  facts.longest = fields.integer_or("max_position_embeddings", 0);
  facts.pad = token_or(fields, "pad_token_id", 0, facts.vocabulary);
  facts.first_token = token_or(fields, "decoder_start_token_id", facts.pad, facts.vocabulary);
  if (const Json* end = fields.take("eos_token_id"); end && end->is_integer())
    facts.end_token = token_or(fields, "eos_token_id", 0, facts.vocabulary);
  facts.labels = labels_of(fields);
  if (const InputKind& input = input_kind(facts.reads); input.read_config) input.read_config(fields, facts);
  std::unique_ptr<Network> network = kind->make(fields, std::move(facts), parameters);
  fields.refuse_rest();
  return network;
}

int64_t size_of(Fields& fields, const char* name, int64_t most) {
  const int64_t size = fields.integer(name);
  if (size < 1 || size > most) fields.wrong(name, format("a whole number from 1 to {}", most), Json(size));
  return size;
}

double rate_of(Fields& fields, const char* name) {
  const double rate = fields.number_or(name, 0);
  if (!(rate >= 0 && rate <= 0.9)) fields.wrong(name, "a number from 0 to 0.9", Json(rate));
  return rate;
}

std::string choice_of(Fields& fields, const char* name, const std::vector<std::string>& choices) {
  std::string chosen = fields.string_or(name, choices.front()), known;
  for (const std::string& choice : choices) {
    if (choice == chosen) return chosen;
    known += (known.empty() ? "" : ", ") + choice;
  }
  fields.wrong(name, "one of: " + known, Json(chosen));
}

void Network::read(Compute&, const Batch&, ModelCache&) const {
  fail(ErrorCode::kUnsupported, "read: this network does not generate text");
}
Tensor Network::step(Compute&, const std::vector<int32_t>&, ModelCache&) const {
  fail(ErrorCode::kUnsupported, "step: this network does not generate text");
}

}  // namespace clearhead
