// What families say in the same words: names of weights, heads that share the width, heads that classify.
#pragma once

#include <algorithm>
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

/// Whether "architectures" names a model for the task: "ForTokenClassification".
inline bool is_for(const Architecture& facts, std::string_view task) {
  return std::any_of(facts.architectures.begin(), facts.architectures.end(),
                     [&](const std::string& name) { return name.find(task) != std::string::npos; });
}

/// What a decoder's last hidden states are read by: classes of the last token, or the next token (`is_tied`: by the embedding).
inline void set_decoder_head(Architecture& facts, bool classifies, bool is_tied) {
  if (classifies) {
    facts.classifier = ClassifierFacts{ClassifierFacts::Where::kLast, {}, Activation::kNone, {"score.weight", ""}};
  } else {
    facts.causal = CausalHeadFacts{{is_tied ? "" : "lm_head.weight", ""}};
  }
}

}  // namespace clearhead
