// RoBERTa (Liu et al. 2019) and the models of its kind: the encoder of BERT, whose positions start after the padding token.
#include "models/families/bert.h"

namespace clearhead {
namespace {

Architecture read_roberta(const Json& json, const std::string& where) {
  Config config(json, where, "roberta");
  Architecture facts = bert_encoder(config, "roberta.");
  const double epsilon = facts.embedding.norm.epsilon;
  const int64_t offset = config.integer_or("pad_token_id", 1) + 1;
  if (offset < 0 || offset >= facts.longest)
    config.refuse("pad_token_id", "position ids start after it, but max_position_embeddings leaves none");
  facts.positions = LearnedPositions{"embeddings.position_embeddings.weight", offset};
  facts.longest -= offset;
  facts.masked = MaskedHeadFacts{linear("lm_head.dense"),
                                 Activation::kGeluErf,
                                 layer_norm("lm_head.layer_norm", epsilon),
                                 "lm_head.decoder.weight",
                                 {"lm_head.decoder.bias", "lm_head.bias"},
                                 config.flag_or("tie_word_embeddings", true)};
  facts.classifier = bert_classifier(facts, linear("classifier.dense"), Activation::kTanh, "classifier.out_proj");
  config.done();
  return facts;
}

}  // namespace

const Family& roberta_family() {
  static const Family family{{"roberta", "xlm-roberta", "camembert"}, read_roberta, {"Roberta", "XLMRoberta", "Camembert"}};
  return family;
}

}  // namespace clearhead
