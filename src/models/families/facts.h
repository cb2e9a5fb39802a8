// Helpers shared by several families: names of weights, the number of attention heads, and the output heads of decoders.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "base/format.h"
#include "models/architecture.h"
#include "models/config.h"

namespace clearhead {

inline LinearNames linear(const std::string& name, bool has_bias = true) { return {name + ".weight", has_bias ? name + ".bias" : ""}; }

inline NormFacts layer_norm(const std::string& name, double epsilon) {
  return {NormFacts::Kind::kLayer, epsilon, name + ".weight", name + ".bias"};
}

/// Reads the number of heads for models with equal numbers of query and key heads, and refuses a number that does not divide
/// the width. `name` and `width_name` are the fields of config.json.
inline void read_heads(Config& config, const std::string& name, std::string_view width_name, Architecture& facts) {
  facts.heads = facts.key_heads = config.size(name);
  if (facts.width % facts.heads != 0) config.refuse(name, format("it does not divide {} {}", width_name, facts.width));
  facts.head_dim = facts.width / facts.heads;
}

/// Returns true if "architectures" names a model for this task, such as "ForTokenClassification".
inline bool is_for(const Architecture& facts, std::string_view task) {
  return std::any_of(facts.architectures.begin(), facts.architectures.end(),
                     [&](const std::string& name) { return name.find(task) != std::string::npos; });
}

/// Defaults of a family for fields that are missing in config.json.
struct DecoderDefaults {
  bool ties_embeddings = true;
  std::optional<int64_t> pad_token{};
};

/// Sets the output head of a decoder: a classifier of the last token that is not padding, a classifier of every token (by the layer
/// `tokens`), or the next-token head.
inline void set_decoder_head(Config& config, Architecture& facts, const LinearNames& tokens, const DecoderDefaults& defaults) {
  using Where = ClassifierFacts::Where;
  if (is_for(facts, "ForQuestionAnswering")) config.refuse("architectures", "models of this type have no question answering head");
  const bool of_tokens = is_for(facts, "ForTokenClassification"), of_texts = is_for(facts, "ForSequenceClassification");
  const bool is_tied = config.flag_or("tie_word_embeddings", defaults.ties_embeddings);
  const Json* pad = config.take("pad_token_id");
  if (!of_tokens && !of_texts) {
    facts.unread.emplace_back("score.weight");
    facts.causal = CausalHeadFacts{{"lm_head.weight", ""}, is_tied};
    if (is_tied) facts.aliases.emplace_back(facts.embedding.tokens, "lm_head.weight");  // a file may use either name for it
    return;
  }
  facts.unread.emplace_back("lm_head.weight");
  facts.classifier = of_tokens ? ClassifierFacts{Where::kEvery, {}, Activation::kNone, tokens}
                               : ClassifierFacts{Where::kLast, {}, Activation::kNone, {"score.weight", ""}};
  if (pad && pad->is_integer()) facts.classifier->pad_token = pad->integer();
  if (!pad) facts.classifier->pad_token = defaults.pad_token;
}

}  // namespace clearhead
