// GPT-2 (Radford et al. 2019): a causal decoder with learned positions, pre-norm layers, and one fused projection to Q, K and V, which is
// stored as [in, out].
//
// With scale_attn_weights = false, the dot product is not scaled. scale_attn_by_inverse_layer_idx divides it by the number of the layer,
// counted from 1 (the GPT-2 models of Stanford's Mistral project). reorder_and_upcast_attn only changes the order of a multiplication.
#include <cmath>

#include "models/families/facts.h"

namespace clearhead {
namespace {

LinearNames conv1d(const std::string& name) { return {name + ".weight", name + ".bias", true}; }

std::vector<AttentionFacts> attention(Config& config, const Architecture& facts) {
  const bool scaled = config.flag_or("scale_attn_weights", true);
  const bool by_layer = config.flag_or("scale_attn_by_inverse_layer_idx", false);
  config.harmless({"reorder_and_upcast_attn"});
  std::vector<AttentionFacts> layers;
  for (int64_t layer = 0; layer < facts.layers; ++layer) {
    AttentionFacts of_layer;
    of_layer.causal = true;
    double scale = scaled ? 1 / std::sqrt(static_cast<double>(facts.head_dim)) : 1;
    if (by_layer) scale /= static_cast<double>(layer + 1);
    of_layer.scale = scale;
    layers.push_back(of_layer);
  }
  return layers;
}

Architecture read_gpt2(const Json& json, const std::string& where) {
  Config config(json, where, "gpt2");
  Architecture facts;
  facts.architectures = config.architectures();
  facts.width = config.size("n_embd");
  facts.layers = config.layers("n_layer");
  read_heads(config, "n_head", "n_embd", facts);
  facts.mlp_width = config.size_or("n_inner", 4 * facts.width);
  facts.vocabulary = config.size("vocab_size");
  facts.longest = config.size("n_positions");
  facts.prefix = "transformer.";
  const double epsilon = config.positive_or("layer_norm_epsilon", 1e-5);
  const Activation activation = config.activation_or("activation_function", Activation::kGeluTanh);
  config.only("add_cross_attention", {"false"});
  config.same("hidden_size", facts.width);
  config.same("num_hidden_layers", facts.layers);
  config.same("num_attention_heads", facts.heads);
  config.same("max_position_embeddings", facts.longest);
  config.harmless({"n_ctx", "is_decoder", "predict_special_tokens", "attn_pdrop", "resid_pdrop", "embd_pdrop", "summary_type",
                   "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout"});

  facts.embedding.tokens = "wte.weight";
  facts.positions = LearnedPositions{"wpe.weight", 0};
  facts.attention = attention(config, facts);
  const std::string layer = "h.{}.";
  facts.layer.placement = LayerFacts::NormPlacement::kPre;
  facts.layer.attention_norm = layer_norm(layer + "ln_1", epsilon);
  facts.layer.projections.fused = conv1d(layer + "attn.c_attn");
  facts.layer.projections.output = conv1d(layer + "attn.c_proj");
  facts.layer.mlp_norm = layer_norm(layer + "ln_2", epsilon);
  facts.layer.mlp = {MlpFacts::Kind::kPlain, activation, {}, conv1d(layer + "mlp.c_fc"), conv1d(layer + "mlp.c_proj")};
  facts.final_norm = layer_norm("ln_f", epsilon);
  facts.labels = config.labels();
  // The causal mask, which older versions stored, and the head of GPT2DoubleHeadsModel.
  facts.unread = {"h.*.attn.bias", "h.*.attn.masked_bias", "multiple_choice_head.*"};
  set_decoder_head(config, facts, linear("classifier"), {});
  config.done();
  return facts;
}

}  // namespace

const Family& gpt2_family() {
  static const Family family{{"gpt2"}, read_gpt2, {"GPT2"}};
  return family;
}

}  // namespace clearhead
