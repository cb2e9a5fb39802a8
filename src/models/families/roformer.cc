// RoFormer (Su et al. 2021): BERT with rotary embeddings instead of learned positions, so that attention depends on distances.
#include "models/families/bert.h"

namespace clearhead {
namespace {

Architecture read_roformer(const Json& json, const std::string& where) {
  Config config(json, where, "roformer");
  config.only("rotary_value", {"false"});
  Architecture facts = bert_encoder(config, "roformer.");
  const double epsilon = facts.embedding.norm.epsilon;
  const Activation activation = facts.layer.mlp.activation;
  facts.positions = RotaryPositions{.interleaved = true, .table = "encoder.embed_positions.weight"};
  facts.pooler.reset();
  facts.masked = MaskedHeadFacts{linear("cls.predictions.transform.dense"),
                                 activation,
                                 layer_norm("cls.predictions.transform.LayerNorm", epsilon),
                                 "cls.predictions.decoder.weight",
                                 {"cls.predictions.decoder.bias", "cls.predictions.bias"},
                                 config.flag_or("tie_word_embeddings", true)};
  facts.classifier = bert_classifier(facts, linear("classifier.dense"), activation, "classifier.out_proj");
  config.done();
  return facts;
}

}  // namespace

const Family& roformer_family() {
  static const Family family{{"roformer"}, read_roformer, {"RoFormer"}};
  return family;
}

}  // namespace clearhead
