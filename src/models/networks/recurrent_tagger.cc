// A recurrent tagger with attention: a bidirectional GRU reads a text, every token attends to all tokens of the text, and a classifier
// predicts its tag from its own state and the context.
//
//   h = GRU(embeddings)      s_ij = (W_q h_i)·h_j, or vᵀ tanh(W_q h_i + W_k h_j) (Bahdanau, Cho & Bengio 2015, A.1.2)
//   c_i = Σ_j P_ij h_j       logits_i = W_c tanh(W [h_i; c_i])
//
//   "score": "general" or "additive"
//   "normaliser": see models/normaliser.h
#include "models/attending.h"
#include "models/networks/networks.h"
#include "models/normaliser.h"

namespace clearhead {
namespace {

class RecurrentTagger final : public Network {
 public:
  RecurrentTagger(Fields& config, NetworkFacts facts, const Scope& scope)
      : embedding_size_(size_of(config, "embedding_size")), hidden_(size_of(config, "hidden_size")), dropout_(rate_of(config, "dropout")) {
    if (hidden_ % 2 != 0) config.wrong("hidden_size", "an even number: half for each direction", Json(hidden_));
    if (facts.vocabulary < 1) config.wrong("vocab_size", "1 or more tokens", Json(facts.vocabulary));
    if (facts.labels.empty()) config.wrong("id2label", "the labels", Json());
    facts_ = std::move(facts);
    facts_.width = hidden_;
    facts_.tags = true;
    const bool is_additive = choice_of(config, "score", {"general", "additive"}) == "additive";
    embedding_ = {scope / "embedding", facts_.vocabulary, embedding_size_, Init::normal(0.1)};
    words_ = {scope / "words", embedding_size_, hidden_ / 2, {.bidirectional = true}};
    query_ = {scope / "query", hidden_, hidden_, {.bias = false}};
    spec_.score = Dot{1};
    if (is_additive) {
      key_ = {scope / "key", hidden_, hidden_, {.bias = false}};
      spec_.score = Additive{.weight = scope.parameter("score", {1, hidden_}, Init::normal(0.1))};
    }
    normaliser_ = {config, scope / "chain"};
    read_ = {scope / "read", 2 * hidden_, hidden_};
    classifier_ = {scope / "classifier", hidden_, static_cast<int64_t>(facts_.labels.size())};
  }

  Tensor logits(Compute& compute, const Batch& input, const Batch*) const override {
    Memory memory{.layout = input.layout()};
    memory.rows = words_(compute, compute.dropout(embedding_(compute, input.ids), dropout_), memory.layout).rows;
    memory.keys = key_ ? key_(compute, memory.rows) : memory.rows;
    const Tensor queries = query_(compute, memory.rows);
    const AttentionSpec spec = normaliser_.described(compute, memory, queries, spec_);
    const Tensor contexts = look(compute, memory, queries, spec, {.family = "enc"});
    const Tensor hidden = compute.activate("tanh", read_(compute, compute.concat({memory.rows, contexts}, 1)));
    return classifier_(compute, compute.dropout(hidden, dropout_)).reshape({input.batch, input.length, classifier_.out()});
  }

 private:
  int64_t embedding_size_, hidden_;
  double dropout_;
  nn::Embedding embedding_{};
  nn::Gru words_{};
  nn::Linear query_{}, key_{}, read_{}, classifier_{};
  AttentionSpec spec_{};
  ConfiguredNormaliser normaliser_{};
};

}  // namespace

const NetworkKind& recurrent_tagger_network() {
  static const NetworkKind kind{"recurrent_tagger", "text", &make_network<RecurrentTagger>};
  return kind;
}

}  // namespace clearhead
