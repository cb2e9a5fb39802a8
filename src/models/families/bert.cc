// BERT and related models: bidirectional encoders with learned positions and post-norm layers.
//
//   BERT        Devlin et al. 2019. MiniLM and most sentence encoders are BERTs with other sizes.
//   DistilBERT  Sanh et al. 2019: half the layers, no token types, no pooler.
//   RoBERTa     Liu et al. 2019: positions start at padding_idx + 1.
#include <limits>

#include "models/families/facts.h"

namespace clearhead {
namespace {

// Returns the classifier of every token if "architectures" names a model for token classification or question answering, otherwise the
// classifier of the first token.
ClassifierFacts classifier(const Architecture& facts, const LinearNames& dense, Activation activation, const std::string& out) {
  if (is_for(facts, "ForTokenClassification")) return {ClassifierFacts::Where::kEvery, {}, Activation::kNone, linear("classifier")};
  if (facts.answers) return {ClassifierFacts::Where::kSpan, {}, Activation::kNone, linear("qa_outputs")};
  return {ClassifierFacts::Where::kFirst, dense, activation, linear(out)};
}

// Reads the settings of a question-answering model from "answers", which our training writes; defaults for configs without it.
std::optional<AnswerSettings> answers(Config& config, const Architecture& facts) {
  const Json* given = config.take("answers");
  if (!is_for(facts, "ForQuestionAnswering")) return std::nullopt;
  if (facts.labels.size() != 2)
    config.refuse(config.take("id2label") ? "id2label" : "num_labels", "a head for answers has two outputs, start and end");
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

// Tensors that do not change the result: buffers of older versions, heads of tasks that config.json does not name, and a second copy
// of the bias of the masked-LM head.
const std::vector<std::string> kUnread = {
    "embeddings.position_ids", "embeddings.token_type_ids", "qa_outputs.*", "classifier.*", "cls.predictions.bias", "lm_head.bias"};

// Old checkpoints call the weights of norms gamma and beta, as in TensorFlow.
const std::vector<std::pair<std::string, std::string>> kTensorFlowNames = {{"LayerNorm.weight", "LayerNorm.gamma"},
                                                                           {"LayerNorm.bias", "LayerNorm.beta"}};

LinearNames pooler() {
  LinearNames names = linear("pooler.dense");
  names.in_body = true;
  return names;
}

// Reads what BERT and RoBERTa have in common: the same fields, and the same names of weights after `prefix`.
Architecture encoder(Config& config, const std::string& prefix) {
  Architecture facts;
  facts.architectures = config.architectures();
  facts.width = config.size("hidden_size");
  facts.layers = config.layers("num_hidden_layers");
  read_heads(config, "num_attention_heads", "hidden_size", facts);
  facts.mlp_width = config.size("intermediate_size");
  facts.vocabulary = config.size("vocab_size");
  facts.longest = config.size("max_position_embeddings");
  facts.prefix = prefix;
  facts.aliases = kTensorFlowNames;
  facts.unread = kUnread;
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
  facts.pooler = PoolerFacts{pooler(), Activation::kTanh};
  facts.labels = config.labels();
  facts.answers = answers(config, facts);
  return facts;
}

Architecture read_bert(const Json& json, const std::string& where) {
  Config config(json, where, "bert");
  Architecture facts = encoder(config, "bert.");
  const double epsilon = facts.embedding.norm.epsilon;
  facts.masked = MaskedHeadFacts{linear("cls.predictions.transform.dense"),
                                 facts.layer.mlp.activation,
                                 layer_norm("cls.predictions.transform.LayerNorm", epsilon),
                                 "cls.predictions.decoder.weight",
                                 {"cls.predictions.decoder.bias", "cls.predictions.bias"},
                                 config.flag_or("tie_word_embeddings", true)};
  facts.classifier = classifier(facts, pooler(), Activation::kTanh, "classifier");
  facts.next_sentence = ClassifierFacts{ClassifierFacts::Where::kFirst, pooler(), Activation::kTanh, linear("cls.seq_relationship")};
  config.done();
  return facts;
}

Architecture read_roberta(const Json& json, const std::string& where) {
  Config config(json, where, "roberta");
  Architecture facts = encoder(config, "roberta.");
  const double epsilon = facts.embedding.norm.epsilon;
  const int64_t offset = config.integer_or("pad_token_id", 1) + 1;
  if (offset < 0 || offset >= facts.longest) config.refuse("pad_token_id", "positions start after it and there are none left");
  facts.positions = LearnedPositions{"embeddings.position_embeddings.weight", offset};
  facts.longest -= offset;
  facts.masked = MaskedHeadFacts{linear("lm_head.dense"),
                                 Activation::kGeluErf,
                                 layer_norm("lm_head.layer_norm", epsilon),
                                 "lm_head.decoder.weight",
                                 {"lm_head.decoder.bias", "lm_head.bias"},
                                 config.flag_or("tie_word_embeddings", true)};
  facts.classifier = classifier(facts, linear("classifier.dense"), Activation::kTanh, "classifier.out_proj");
  config.done();
  return facts;
}

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
  facts.aliases = kTensorFlowNames;
  facts.unread = kUnread;
  facts.unread.emplace_back("pre_classifier.*");
  const Activation activation = config.activation_or("activation", Activation::kGeluErf);
  // Files store sinusoidal tables in the same way as learned ones.
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
  facts.answers = answers(config, facts);
  facts.classifier = classifier(facts, linear("pre_classifier"), Activation::kRelu, "classifier");
  config.done();
  return facts;
}

}  // namespace

const Family& bert_family() {
  static const Family family{{"bert"}, read_bert, {"Bert"}};
  return family;
}

const Family& distilbert_family() {
  static const Family family{{"distilbert"}, read_distilbert, {"DistilBert"}};
  return family;
}

const Family& roberta_family() {
  static const Family family{{"roberta", "xlm-roberta", "camembert"}, read_roberta, {"Roberta", "XLMRoberta", "Camembert"}};
  return family;
}

}  // namespace clearhead
