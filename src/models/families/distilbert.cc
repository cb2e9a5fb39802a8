// DistilBERT (Sanh et al. 2019): the layers of BERT under other names, without token types and pooler.
#include "models/families/bert.h"

namespace clearhead {
namespace {

Architecture read_distilbert(const Json& json, const std::string& where) {
  Config config(json, where, "distilbert");
  constexpr double kEpsilon = 1e-12;  // fixed in the architecture
  Architecture facts;
  facts.architectures = config.architectures();
  facts.width = config.size("dim");
  facts.layers = config.layers("n_layers");
  read_heads(config, "n_heads", "dim", facts);
  facts.mlp_width = config.size("hidden_dim");
  facts.vocabulary = config.size("vocab_size");
  facts.longest = config.size("max_position_embeddings");
  facts.prefix = "distilbert.";
  facts.aliases = kBertTensorFlowNames;
  facts.unread = kBertUnread;
  facts.unread.emplace_back("pre_classifier.*");
  const Activation activation = config.activation_or("activation", Activation::kGeluErf);
  // "sinusoidal_pos_embds" (below) does not matter: files store a sinusoidal table in the same way as a learned one.
  config.same("hidden_size", facts.width);
  config.same("num_hidden_layers", facts.layers);
  config.same("num_attention_heads", facts.heads);
  config.same("intermediate_size", facts.mlp_width);
  config.only("is_decoder", {"false"});
  config.harmless({"sinusoidal_pos_embds", "tie_weights_", "qa_dropout", "seq_classif_dropout"});

  facts.embedding.tokens = "embeddings.word_embeddings.weight";
  facts.embedding.norm = layer_norm("embeddings.LayerNorm", kEpsilon);
  facts.positions = LearnedPositions{"embeddings.position_embeddings.weight", 0};
  facts.attention = {AttentionFacts{}};
  const std::string layer = "transformer.layer.{}.";
  facts.layer.placement = LayerFacts::NormPlacement::kPost;
  facts.layer.projections = {linear(layer + "attention.q_lin"),
                             linear(layer + "attention.k_lin"),
                             linear(layer + "attention.v_lin"),
                             {},
                             linear(layer + "attention.out_lin")};
  facts.layer.attention_norm = layer_norm(layer + "sa_layer_norm", kEpsilon);
  facts.layer.mlp = {MlpFacts::Kind::kPlain, activation, {}, linear(layer + "ffn.lin1"), linear(layer + "ffn.lin2")};
  facts.layer.mlp_norm = layer_norm(layer + "output_layer_norm", kEpsilon);
  facts.masked = MaskedHeadFacts{linear("vocab_transform"),
                                 activation,
                                 layer_norm("vocab_layer_norm", kEpsilon),
                                 "vocab_projector.weight",
                                 {"vocab_projector.bias"},
                                 config.flag_or("tie_word_embeddings", true)};
  facts.labels = config.labels();
  facts.answers = answer_settings(config, facts);
  facts.classifier = bert_classifier(facts, linear("pre_classifier"), Activation::kRelu, "classifier");
  config.done();
  return facts;
}

}  // namespace

const Family& distilbert_family() {
  static const Family family{{"distilbert"}, read_distilbert, {"DistilBert"}};
  return family;
}

}  // namespace clearhead
