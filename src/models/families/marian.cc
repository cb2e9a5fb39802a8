// Marian's encoder-decoders (Junczys-Dowmunt et al. 2018) in the format of Hugging Face: the Transformer of Vaswani et al. 2017 with
// post-norm layers, sinusoidal positions, and a bias on the logits. Source and target share one embedding unless config.json disables it.
#include <cmath>

#include "models/families/facts.h"

namespace clearhead {
namespace {

constexpr double kEpsilon = 1e-5;  // fixed in the architecture

ProjectionNames projections(const std::string& name) {
  return {linear(name + ".q_proj"), linear(name + ".k_proj"), linear(name + ".v_proj"), {}, linear(name + ".out_proj")};
}

// Reads one of the two stacks; `side` is "encoder" or "decoder".
Architecture stack(Config& config, const std::string& side) {
  Architecture facts;
  facts.width = config.size("d_model");
  facts.layers = config.layers(side + "_layers");
  read_heads(config, side + "_attention_heads", "d_model", facts);
  facts.mlp_width = config.size(side + "_ffn_dim");
  facts.vocabulary = config.size("vocab_size");
  facts.longest = config.size_or("max_position_embeddings", 1024);
  facts.prefix = "model.";
  if (config.flag_or("scale_embedding", false)) facts.embedding.scale = std::sqrt(static_cast<double>(facts.width));
  facts.positions = SinusoidalPositions{side + ".embed_positions.weight"};
  const std::string layer = side + ".layers.{}.";
  facts.layer.placement = LayerFacts::NormPlacement::kPost;
  facts.layer.projections = projections(layer + "self_attn");
  facts.layer.attention_norm = layer_norm(layer + "self_attn_layer_norm", kEpsilon);
  facts.layer.mlp = {MlpFacts::Kind::kPlain,
                     config.activation_or("activation_function", Activation::kGeluErf),
                     {},
                     linear(layer + "fc1"),
                     linear(layer + "fc2")};
  facts.layer.mlp_norm = layer_norm(layer + "final_layer_norm", kEpsilon);
  return facts;
}

// Sets the names of the embedding tables. A file may store a shared table under any of its names.
void name_tables(Config& config, Architecture& encoder, Architecture& decoder, bool is_tied) {
  const bool is_shared = config.flag_or("share_encoder_decoder_embeddings", true);
  const int64_t target = config.size_or("decoder_vocab_size", decoder.vocabulary);
  if (is_shared && target != decoder.vocabulary)
    config.refuse("decoder_vocab_size", "it must equal vocab_size, because share_encoder_decoder_embeddings is true");
  decoder.vocabulary = target;
  const std::string shared = "shared.weight", of_encoder = "encoder.embed_tokens.weight", of_decoder = "decoder.embed_tokens.weight";
  encoder.embedding.tokens = is_shared && is_tied ? shared : of_encoder;
  decoder.embedding.tokens = is_shared && is_tied ? shared : of_decoder;
  if (!is_shared) return;
  if (!is_tied) decoder.unread = {shared};  // each stack then has a table of its own
  encoder.aliases = is_tied ? decltype(encoder.aliases){{shared, of_encoder}} : decltype(encoder.aliases){{of_encoder, shared}};
  decoder.aliases = is_tied ? decltype(decoder.aliases){{shared, of_decoder}} : decltype(decoder.aliases){{of_decoder, shared}};
}

Architecture read_marian(const Json& json, const std::string& where) {
  Config config(json, where, "marian", Config::Form::kEncoderDecoder);
  Architecture encoder = stack(config, "encoder"), decoder = stack(config, "decoder");
  encoder.model_type = "marian";
  encoder.attention = {AttentionFacts{}};
  decoder.architectures = config.architectures();
  decoder.attention = {AttentionFacts{.causal = true}};
  const std::string layer = "decoder.layers.{}.";
  decoder.layer.cross = CrossFacts{layer_norm(layer + "encoder_attn_layer_norm", kEpsilon), projections(layer + "encoder_attn")};
  const bool is_tied = config.flag_or("tie_word_embeddings", true);
  name_tables(config, encoder, decoder, is_tied);
  decoder.causal = CausalHeadFacts{{"lm_head.weight", "final_logits_bias", false, true}, is_tied};
  const int64_t first = config.integer_or("decoder_start_token_id", decoder.vocabulary - 1);
  if (first < 0 || first >= decoder.vocabulary) config.refuse("decoder_start_token_id", "it is outside the vocabulary");
  decoder.first_token = static_cast<int32_t>(first);
  // Options in older files for variants that the Marian code in transformers never supported.
  config.only("normalize_before", {"false"});
  config.only("normalize_embedding", {"false"});
  config.only("add_final_layer_norm", {"false"});
  config.only("static_position_embeddings", {"true"});
  config.only("extra_pos_embeddings", {"0", "2"});
  config.only("is_decoder", {"false"});
  config.only("add_cross_attention", {"false"});
  config.only("tie_encoder_decoder", {"false"});
  config.same("hidden_size", decoder.width);
  config.same("num_attention_heads", encoder.heads);
  config.same("num_hidden_layers", encoder.layers);
  config.harmless({"add_bias_logits", "activation_dropout", "encoder_layerdrop", "decoder_layerdrop", "classif_dropout", "init_std"});
  config.done();
  decoder.encoder = std::make_shared<const Architecture>(std::move(encoder));
  return decoder;
}

}  // namespace

const Family& marian_family() {
  static const Family family{{"marian"}, read_marian};
  return family;
}

}  // namespace clearhead
