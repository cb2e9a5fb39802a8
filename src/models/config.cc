// Typed and range-checked access to the fields of config.json, and the list of fields that are harmless in every model.
#include "models/config.h"

#include <algorithm>
#include <cctype>
#include <limits>

#include "base/format.h"

namespace clearhead {
namespace {

// Fields that do not change what any model computes.
constexpr const char* kHarmless[] = {
    // provenance and bookkeeping
    "model_type",
    "transformers_version",
    "torch_dtype",
    "dtype",
    "_name_or_path",
    "name_or_path",
    "_commit_hash",
    "auto_map",
    "architectures",
    "task_specific_params",
    "finetuning_task",
    "language",
    "name",
    "tokenizer_class",
    "tokenizer_name",
    "do_lower_case",
    "model_max_length",
    "max_seq_length",
    "transformers.js_config",
    "unsloth_fixed",
    "unsloth_version",
    "xla_device",
    "sentence_transformers",
    "sbert_ce_default_activation_function",
    // training
    "initializer_range",
    "initializer_factor",
    "classifier_dropout",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "attention_dropout",
    "dropout",
    "gradient_checkpointing",
    "tf_legacy_loss",
    // labels
    "id2label",
    "label2id",
    "num_labels",
    "_num_labels",
    "problem_type",
    // implementation and outputs
    "use_cache",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "output_scores",
    "return_dict",
    "return_dict_in_generate",
    "use_return_dict",
    "torchscript",
    "use_bfloat16",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_attn_implementation_internal",
    "_experts_implementation",
    "_experts_implementation_internal",
    "_flash_attn_2_enabled",
    "chunk_size_feed_forward",
    // tokens
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "sep_token_id",
    "cls_token_id",
    "mask_token_id",
    "unk_token_id",
    "decoder_start_token_id",
    // generation: read by src/generate
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "do_sample",
    "early_stopping",
    "num_beams",
    "num_beam_groups",
    "diversity_penalty",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "bad_words_ids",
    "num_return_sequences",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "remove_invalid_values",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
    "cache_implementation",
    "prefix",
};

// Null, false, 0 or empty.
bool is_off(const Json& value) {
  if (value.is_bool()) return !value.boolean();
  if (value.is_number()) return value.number() == 0;
  if (value.is_string()) return value.string().empty();
  if (value.is_array() || value.is_object()) return value.size() == 0;
  return true;
}

std::string joined(std::initializer_list<std::string_view> values) {
  std::string out;
  for (const std::string_view value : values) out += (out.empty() ? "" : ", ") + std::string(value);
  return out;
}

}  // namespace

Config::Config(const Json& object, const std::string& where, const std::string& model_type, Form form)
    : object_(object), where_(where), model_type_(model_type), fields_(object, where) {
  only("is_encoder_decoder", {form == Form::kEncoderDecoder ? "true" : "false"});
  only("pruned_heads", {"{}"});
  only("quantization_config", {"{}"});
  only("adapters", {"{}"});
}

int64_t Config::size(std::string_view name) {
  const int64_t value = known(name).integer(name);
  if (value < 1 || value > std::numeric_limits<int32_t>::max()) fields_.wrong(name, "an integer from 1 to 2147483647", Json(value));
  return value;
}

int64_t Config::integer_or(std::string_view name, int64_t otherwise) {
  const int64_t value = known(name).integer_or(name, otherwise);
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (value < -kMost || value > kMost) fields_.wrong(name, "an integer from -2147483647 to 2147483647", Json(value));
  return value;
}

int64_t Config::layers(std::string_view name) {
  constexpr int64_t kMost = 10'000;
  const int64_t count = size(name);
  if (count > kMost) fields_.wrong(name, format("at most {} layers", with_commas(kMost)), Json(count));
  return count;
}

int64_t Config::size_or(std::string_view name, int64_t otherwise) { return optional_size(name).value_or(otherwise); }

std::optional<int64_t> Config::optional_size(std::string_view name) {
  const Json* found = take(name);
  if (!found || found->is_null()) return std::nullopt;
  return size(name);
}

std::optional<double> Config::optional_number(std::string_view name) {
  const Json* found = take(name);
  if (!found || found->is_null()) return std::nullopt;
  if (!found->is_number()) fields_.wrong(name, "a number or null", *found);
  return found->number();
}

double Config::positive_or(std::string_view name, double otherwise) {
  const double value = optional_number(name).value_or(otherwise);
  if (!(value > 0) || value > std::numeric_limits<float>::max()) fields_.wrong(name, "a positive number", Json(value));
  return value;
}

Activation Config::activation_or(std::string_view name, Activation otherwise) {
  const std::string text = text_or(name, "");
  if (text.empty()) return otherwise;
  const std::optional<Activation> found = activation_from(text);
  if (!found) {
    fail(ErrorCode::kUnsupported,
         "{}: \"{}\": activation \"{}\" is not supported; expected one of: gelu, gelu_new, relu, sigmoid, silu, tanh (model: {})", where_,
         name, text, model_type_);
  }
  return *found;
}

std::vector<std::string> Config::labels() {
  harmless({"num_labels"});
  std::vector<std::string> out;
  if (const Json* map = take("id2label"); map && map->is_object() && map->size() > 0) {
    out.resize(map->size());
    for (const auto& [key, value] : map->fields()) {
      const bool is_number =
          !key.empty() && key.size() < 9 && std::all_of(key.begin(), key.end(), [](unsigned char c) { return std::isdigit(c); });
      const size_t id = is_number ? static_cast<size_t>(std::stoul(key)) : out.size();
      if (id >= out.size() || !value.is_string()) fields_.wrong("id2label", "names for 0, 1, … without gaps", *map);
      out[id] = value.string();
    }
    return out;
  }
  const int64_t count = size_or("num_labels", 2);
  if (count > 1'000'000) fields_.wrong("num_labels", "at most 1000000", Json(count));
  for (int64_t i = 0; i < count; ++i) out.push_back(format("LABEL_{}", i));
  return out;
}

std::vector<std::string> Config::architectures() {
  std::vector<std::string> out;
  const Json* list = take("architectures");
  if (!list || list->is_null()) return out;
  if (!list->is_array()) fields_.wrong("architectures", "a list of names or null", *list);
  for (const Json& item : list->items()) {
    if (!item.is_string()) fields_.wrong("architectures", "a list of names or null", *list);
    out.push_back(item.string());
  }
  return out;
}

void Config::only(std::string_view name, std::initializer_list<std::string_view> values) {
  const Json* found = take(name);
  if (!found || found->is_null()) return;
  const std::string text = found->is_string() ? found->string() : found->dump();
  if (std::find(values.begin(), values.end(), text) != values.end()) return;
  fail(ErrorCode::kUnsupported, "{}: \"{}\": {} is not supported; expected {} (model: {})", where_, name, found->describe(), joined(values),
       model_type_);
}

void Config::same(std::string_view name, int64_t value) { only(name, {Json(value).dump()}); }

void Config::harmless(std::initializer_list<std::string_view> names) { known_.insert(known_.end(), names.begin(), names.end()); }

void Config::refuse(std::string_view name, std::string_view why) const {
  const Json* found = object_.find(name);
  fail(ErrorCode::kUnsupported, "{}: \"{}\": {} is not supported: {} (model: {})", where_, name, found ? found->describe() : "absent", why,
       model_type_);
}

void Config::done() const {
  const auto is_known = [&](const std::string& name) {
    return std::find(known_.begin(), known_.end(), name) != known_.end() ||
           std::find(std::begin(kHarmless), std::end(kHarmless), name) != std::end(kHarmless);
  };
  for (const auto& [name, value] : object_.fields()) {
    if (is_off(value) || is_known(name)) continue;
    fail(ErrorCode::kUnsupported,
         "{}: field \"{}\" ({}) is not known for models of type \"{}\" and may change what the model computes; "
         "remove it if it does not, or use a version of clearhead that knows it",
         where_, name, value.describe(), model_type_);
  }
}

}  // namespace clearhead
