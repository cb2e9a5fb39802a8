// What several families have in common: names of weights, heads that share the width, and the heads of decoders.
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

/// As many key heads as query heads, which divide the width; `name` and `width_name` are the fields of config.json.
inline void read_heads(Config& config, const std::string& name, std::string_view width_name, Architecture& facts) {
  facts.heads = facts.key_heads = config.size(name);
  if (facts.width % facts.heads != 0) config.refuse(name, format("it does not divide {} {}", width_name, facts.width));
  facts.head_dim = facts.width / facts.heads;
}

/// Returns true if "architectures" names a model for the task: "ForTokenClassification".
inline bool is_for(const Architecture& facts, std::string_view task) {
  return std::any_of(facts.architectures.begin(), facts.architectures.end(),
                     [&](const std::string& name) { return name.find(task) != std::string::npos; });
}

/// What a family assumes for fields that config.json leaves out.
struct DecoderDefaults {
  bool ties_embeddings = true;
  std::optional<int64_t> pad_token{};
};

/// The head of a decoder: classes of the last token that is not padding, or the next token.
inline void set_decoder_head(Config& config, Architecture& facts, bool classifies, const DecoderDefaults& defaults) {
  const bool is_tied = config.flag_or("tie_word_embeddings", defaults.ties_embeddings);
  const Json* pad = config.take("pad_token_id");
  facts.unread.emplace_back(classifies ? "lm_head.weight" : "score.weight");
  if (!classifies) {
    facts.causal = CausalHeadFacts{{"lm_head.weight", ""}, is_tied};
    if (is_tied) facts.aliases.emplace_back(facts.embedding.tokens, "lm_head.weight");  // a file may hold the one weight as either
    return;
  }
  facts.classifier = ClassifierFacts{ClassifierFacts::Where::kLast, {}, Activation::kNone, {"score.weight", ""}};
  if (pad && pad->is_integer()) facts.classifier->pad_token = pad->integer();
  if (!pad) facts.classifier->pad_token = defaults.pad_token;
}

}  // namespace clearhead
