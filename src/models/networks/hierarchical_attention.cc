// Hierarchical attention network (Yang et al. 2016, §2.2). Words are combined to sentence vectors and these to a document vector, each
// with a bidirectional GRU and attention pooling by a learned query.
//
//   h_it = GRU(words of sentence i)        u_it = tanh(W_w h_it + b_w)    α_it = softmax(u_it·u_w)    s_i = Σ_t α_it h_it     (eq. 5–7)
//   h_i  = GRU(sentences)                  u_i  = tanh(W_s h_i + b_s)     α_i  = softmax(u_i·u_s)     v   = Σ_i α_i h_i       (eq. 8–10)
//   logits = W_c v + b_c                                                                                                      (eq. 11)
//
// With "encoder", the GRU over a sentence reads the outputs of a BERT encoder instead of word embeddings. In the encoder, words attend only
// within their sentence.
// With "output": "sentence", the weights α_i are the output: the attention of the document points to one of its sentences (Vinyals et al.
// 2015).
#include "base/format.h"
#include "models/networks/networks.h"

namespace clearhead {
namespace {

class HierarchicalAttention final : public Network {
 public:
  HierarchicalAttention(Fields& config, NetworkFacts facts, const Scope& scope)
      : embedding_size_(size_of(config, "embedding_size")), hidden_(size_of(config, "hidden_size")), dropout_(rate_of(config, "dropout")) {
    if (hidden_ % 2 != 0) config.wrong("hidden_size", "an even number: half for each direction", Json(hidden_));
    if (facts.vocabulary < 1) config.wrong("vocab_size", "1 or more tokens", Json(facts.vocabulary));
    const bool chooses = choice_of(config, "output", {"class", "sentence"}) == "sentence";
    if (chooses) facts.output = "sentence";
    if (facts.labels.empty() != chooses)
      config.wrong("id2label", chooses ? "no labels, because \"output\" is \"sentence\"" : "at least one label",
                   Json(static_cast<int64_t>(facts.labels.size())));
    facts_ = std::move(facts);
    facts_.width = hidden_;
    facts_.layers = 2;
    if (const Json* encoder = config.take("encoder")) {
      encoder_ = {scope / "encoder", encoder_of(*encoder, config)};
    } else {
      embedding_ = {scope / "embedding", facts_.vocabulary, embedding_size_, Init::normal(0.1)};
    }
    words_ = {scope / "words", embedding_size_, hidden_ / 2, {.bidirectional = true}};
    sentences_ = {scope / "sentences", hidden_, hidden_ / 2, {.bidirectional = true}};
    word_pool_ = {scope / "word_attention", hidden_, hidden_, {.family = "words", .queries = "sentence"}};
    sentence_pool_ = {scope / "sentence_attention", hidden_, hidden_, {.family = "sentences", .queries = "document", .keys = "sentence"}};
    if (facts_.output.empty()) classifier_ = {scope / "classifier", hidden_, static_cast<int64_t>(facts_.labels.size())};
  }

  Tensor logits(Compute& compute, const Batch& input, const Batch*) const override {
    const Tensor seen =
        encoder_.layers.empty() ? embedding_(compute, input.ids) : encoder_(compute, input.ids, input.layout(), input.groups);
    const Tensor words = words_(compute, compute.dropout(seen, dropout_), input.layout()).rows;
    const Tensor sentences = word_pool_(compute, words, input.layout(), input.groups);
    const Tensor read = sentences_(compute, compute.dropout(sentences, dropout_), input.groups).rows;
    if (!facts_.output.empty()) return sentence_pool_.weights(compute, read, input.groups);
    return classifier_(compute, compute.dropout(sentence_pool_(compute, read, input.groups), dropout_));
  }

 private:
  nn::EncoderOptions encoder_of(const Json& json, Fields& config) const {
    Fields fields(json, config.where(), "encoder");
    nn::EncoderOptions out{.vocabulary = facts_.vocabulary, .width = embedding_size_};
    out.layers = size_of(fields, "num_hidden_layers", 1000);
    out.heads = size_of(fields, "num_attention_heads", embedding_size_);
    out.mlp_width = size_of(fields, "intermediate_size");
    out.longest = size_of(fields, "max_position_embeddings");
    if (const Json* types = fields.take("type_vocab_size"); types && !(types->is_integer() && types->integer() == out.types))
      fields.wrong("type_vocab_size", std::to_string(out.types), *types);
    out.activation = choice_of(fields, "hidden_act", {"gelu", "gelu_new", "relu", "silu"});
    out.epsilon = fields.number_or("layer_norm_eps", out.epsilon);
    if (!(out.epsilon > 0)) fields.wrong("layer_norm_eps", "a positive number", Json(out.epsilon));
    fields.refuse_rest();
    if (embedding_size_ % out.heads != 0)
      fields.wrong("num_attention_heads", format("a divisor of {}, the embedding size", embedding_size_), Json(out.heads));
    if (facts_.longest == 0 || facts_.longest > out.longest)
      config.wrong("max_position_embeddings", format("1 to {}, the positions of the encoder", out.longest), Json(facts_.longest));
    return out;
  }

  int64_t embedding_size_, hidden_;
  double dropout_;
  nn::Embedding embedding_{};
  nn::Encoder encoder_{};  // without layers: no encoder
  nn::Gru words_{}, sentences_{};
  nn::Pooling word_pool_{}, sentence_pool_{};
  nn::Linear classifier_{};
};

}  // namespace

const NetworkKind& hierarchical_attention_network() {
  static const NetworkKind kind{"hierarchical_attention", "document", &make_network<HierarchicalAttention>};
  return kind;
}

}  // namespace clearhead
