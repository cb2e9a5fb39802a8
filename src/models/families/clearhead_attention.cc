// Attention-only models: no MLPs, no norms, and positions that a formula computes. known_answers.h writes its models in this form; other
// handmade circuits of heads can use it, too.
//
//   x = tokens[id] + phases(p)·positions        per layer: x += attention(x)·output        logits = x·lm_head
//
// Fields of config.json:
//   vocab_size, hidden_size, num_hidden_layers, num_attention_heads, head_dim, causal
//   attention_scale        1/√head_dim if absent
//   attention_sinks        true: a sink logit per head, in layers.{}.attention.sinks
//   windows                for each layer, the number of keys that a query sees, including its own; null: all
//   position_frequencies   radians per position
//   known_answers          the functions of the heads; not read here
#include <cmath>

#include "base/format.h"
#include "models/architecture.h"
#include "models/config.h"

namespace clearhead {
namespace {

std::vector<double> read_frequencies(Config& config) {
  const Json* list = config.take("position_frequencies");
  std::vector<double> frequencies;
  if (list == nullptr || list->is_null()) return frequencies;
  if (!list->is_array()) config.refuse("position_frequencies", "expected a list of numbers");
  for (const Json& item : list->items()) {
    if (!item.is_number() || !std::isfinite(item.number()))
      config.refuse("position_frequencies", format("{} is not a finite number", item.describe()));
    frequencies.push_back(item.number());
  }
  return frequencies;
}

/// Returns one entry for all layers, or one per layer if there are windows.
std::vector<AttentionFacts> with_windows(Config& config, const AttentionFacts& whole, int64_t layers) {
  const Json* list = config.take("windows");
  if (list == nullptr || list->is_null()) return {whole};
  if (!list->is_array() || static_cast<int64_t>(list->size()) != layers)
    config.refuse("windows", format("expected one entry for each of {} layers", layers));
  if (!whole.causal) config.refuse("windows", "windows are supported only in causal models");
  std::vector<AttentionFacts> out;
  for (const Json& window : list->items()) {
    out.push_back(whole);
    if (window.is_null()) continue;
    if (!window.is_integer() || window.integer() < 1)
      config.refuse("windows", format("{} is not a number of keys; expected a positive integer or null", window.describe()));
    out.back().window = window.integer();
  }
  return out;
}

Architecture read_clearhead_attention(const Json& json, const std::string& where) {
  Config config(json, where, "clearhead-attention");
  Architecture facts;
  facts.architectures = config.architectures();
  facts.width = config.size("hidden_size");
  facts.layers = config.layers("num_hidden_layers");
  facts.heads = config.size("num_attention_heads");
  facts.key_heads = facts.heads;
  facts.head_dim = config.size("head_dim");
  facts.vocabulary = config.size("vocab_size");
  facts.longest = config.size_or("max_position_embeddings", 0);
  const auto linear = [](std::string_view name) { return LinearNames{format("layers.{{}}.attention.{}.weight", name), ""}; };

  AttentionFacts attention;
  attention.causal = config.flag_or("causal", false);
  attention.scale = config.optional_number("attention_scale");
  if (config.flag_or("attention_sinks", false)) {
    attention.operands.push_back({.weight = "layers.{}.attention.sinks",
                                  .shape = {facts.heads},
                                  .add = [](AttentionSpec& spec, const Tensor& sinks) { spec.normaliser = Softmax{sinks}; }});
  }
  facts.attention = with_windows(config, attention, facts.layers);
  facts.embedding.tokens = "embed_tokens.weight";
  std::vector<double> frequencies = read_frequencies(config);
  if (!frequencies.empty()) facts.positions = PhasePositions{std::move(frequencies), "embed_positions.weight"};
  facts.layer.placement = LayerFacts::NormPlacement::kPre;
  facts.layer.projections = {linear("query"), linear("key"), linear("value"), {}, linear("output")};
  facts.layer.mlp.kind = MlpFacts::Kind::kNone;
  if (attention.causal) facts.causal = CausalHeadFacts{{"lm_head.weight", ""}};
  config.harmless({"known_answers"});
  config.done();
  return facts;
}

}  // namespace

const Family& clearhead_attention_family() {
  static const Family family{{"clearhead-attention"}, read_clearhead_attention};
  return family;
}

}  // namespace clearhead
