// BERT (Devlin et al. 2019): a bidirectional encoder with learned positions and post-norm layers. MiniLM and most sentence encoders are
// BERTs with other sizes.
#include <limits>

#include "models/families/bert.h"

namespace clearhead {

ClassifierFacts bert_classifier(const Architecture& facts, const LinearNames& dense, Activation activation, const std::string& out) {
  if (is_for(facts, "ForTokenClassification")) return {ClassifierFacts::Where::kEvery, {}, Activation::kNone, linear("classifier")};
  if (facts.answers) return {ClassifierFacts::Where::kSpan, {}, Activation::kNone, linear("qa_outputs")};
  return {ClassifierFacts::Where::kFirst, dense, activation, linear(out)};
}

std::optional<AnswerSettings> answer_settings(Config& config, const Architecture& facts) {
  const Json* given = config.take("answers");
  if (!is_for(facts, "ForQuestionAnswering")) return std::nullopt;
  if (facts.labels.size() != 2)
    config.refuse(config.take("id2label") ? "id2label" : "num_labels", "a question answering head has two outputs, start and end");
  AnswerSettings out;
  if (given && !given->is_null()) {
    Fields fields(*given, config.where(), "answers");
    const auto size = [&](const char* name, int64_t otherwise, int64_t least) {
      const int64_t value = fields.integer_or(name, otherwise);
      if (value < least || value > std::numeric_limits<int32_t>::max())
        fields.wrong(name, format("an integer of {} or more", least), Json(value));
      return value;
    };
    out.window = size("window", out.window, 1);
    out.overlap = size("overlap", out.overlap, 0);
    out.longest = size("longest", out.longest, 1);
    out.threshold = fields.number_or("threshold", out.threshold);
    fields.refuse_rest();
  }
  return out;
}

LinearNames bert_pooler() {
  LinearNames names = linear("pooler.dense");
  names.in_body = true;
  return names;
}

// Reads what BERT and RoBERTa have in common: the same fields, and the same names of weights after `prefix`.
Architecture bert_encoder(Config& config, const std::string& prefix) {
  Architecture facts;
  facts.architectures = config.architectures();
  facts.width = config.size("hidden_size");
  facts.layers = config.layers("num_hidden_layers");
  read_heads(config, "num_attention_heads", "hidden_size", facts);
  facts.mlp_width = config.size("intermediate_size");
  facts.vocabulary = config.size("vocab_size");
  facts.longest = config.size("max_position_embeddings");
  facts.prefix = prefix;
  facts.aliases = kBertTensorFlowNames;
  facts.unread = kBertUnread;
  const double epsilon = config.positive_or("layer_norm_eps", 1e-12);
  const Activation activation = config.activation_or("hidden_act", Activation::kGeluErf);
  config.only("position_embedding_type", {"absolute"});
  config.only("is_decoder", {"false"});
  config.only("add_cross_attention", {"false"});
  config.only("tie_encoder_decoder", {"false"});
  config.same("embedding_size", facts.width);
  config.same("emb_size", facts.width);  // TinyBERT's checkpoints
  // Fields of Google's pooler and of heads for other tasks, which BERT in transformers does not read.
  config.harmless({"directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head",
                   "pooler_type", "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type",
                   "summary_use_proj"});

  facts.embedding.tokens = "embeddings.word_embeddings.weight";
  facts.embedding.type_count = config.size_or("type_vocab_size", 2);
  facts.embedding.types = "embeddings.token_type_embeddings.weight";
  facts.embedding.norm = layer_norm("embeddings.LayerNorm", epsilon);
  facts.positions = LearnedPositions{"embeddings.position_embeddings.weight", 0};
  facts.attention = {AttentionFacts{}};

  const std::string layer = "encoder.layer.{}.";
  facts.layer.placement = LayerFacts::NormPlacement::kPost;
  facts.layer.projections = {linear(layer + "attention.self.query"),
                             linear(layer + "attention.self.key"),
                             linear(layer + "attention.self.value"),
                             {},
                             linear(layer + "attention.output.dense")};
  facts.layer.attention_norm = layer_norm(layer + "attention.output.LayerNorm", epsilon);
  facts.layer.mlp = {MlpFacts::Kind::kPlain, activation, {}, linear(layer + "intermediate.dense"), linear(layer + "output.dense")};
  facts.layer.mlp_norm = layer_norm(layer + "output.LayerNorm", epsilon);
  facts.pooler = PoolerFacts{bert_pooler(), Activation::kTanh};
  facts.labels = config.labels();
  facts.answers = answer_settings(config, facts);
  return facts;
}

namespace {

Architecture read_bert(const Json& json, const std::string& where) {
  Config config(json, where, "bert");
  Architecture facts = bert_encoder(config, "bert.");
  const double epsilon = facts.embedding.norm.epsilon;
  facts.masked = MaskedHeadFacts{linear("cls.predictions.transform.dense"),
                                 facts.layer.mlp.activation,
                                 layer_norm("cls.predictions.transform.LayerNorm", epsilon),
                                 "cls.predictions.decoder.weight",
                                 {"cls.predictions.decoder.bias", "cls.predictions.bias"},
                                 config.flag_or("tie_word_embeddings", true)};
  facts.classifier = bert_classifier(facts, bert_pooler(), Activation::kTanh, "classifier");
  facts.next_sentence = ClassifierFacts{ClassifierFacts::Where::kFirst, bert_pooler(), Activation::kTanh, linear("cls.seq_relationship")};
  config.done();
  return facts;
}

}  // namespace

const Family& bert_family() {
  static const Family family{{"bert"}, read_bert, {"Bert"}};
  return family;
}

}  // namespace clearhead
