// Listen, attend and spell (Chan, Jaitly, Le & Vinyals 2016, §3): a pyramid of bidirectional LSTMs encodes a sound, and an LSTM generates
// its text, with attention to the encoded frames before each token.
//
//   Listener   h^0 = BLSTM(log-mel frames)        h^j_i = BLSTM(h^j_{i−1}, [h^{j−1}_{2i}, h^{j−1}_{2i+1}])        (eq. 5)
//   Speller    s_i = LSTM(s_{i−1}, [y_{i−1}; c_{i−1}])                                                           (eq. 7)
//              e_iu = φ(s_i)·ψ(h_u)       α_i = softmax(e_i)       c_i = Σ_u α_iu h_u                            (eq. 9–11)
//              logits = W tanh(M [s_i; c_i]) + b
//
// Each layer of the listener after the first halves the number of frames.
// "score": "additive" uses e_iu = vᵀ tanh(φ(s_i) + ψ(h_u)) instead of the product (Chorowski et al. 2015, eq. 6). The initial state of the
// speller is a function of the last state of the listener's backward LSTM, as in Bahdanau et al. 2015.
#include "base/format.h"
#include "models/attending.h"
#include "models/networks/networks.h"

namespace clearhead {
namespace {

const Site kCross{.family = "cross", .queries = "target", .keys = "frame"};

class ListenAttendSpell final : public Network {
 public:
  ListenAttendSpell(Fields& config, NetworkFacts facts, const Scope& scope)
      : embedding_size_(size_of(config, "embedding_size")), hidden_(size_of(config, "hidden_size")), dropout_(rate_of(config, "dropout")) {
    const int64_t halvings = size_of(config, "pyramid_layers", 6);
    if (hidden_ % 2 != 0) config.wrong("hidden_size", "an even number: half for each direction of the listener", Json(hidden_));
    if (facts.vocabulary < 1) config.wrong("vocab_size", "1 or more tokens", Json(facts.vocabulary));
    facts_ = std::move(facts);
    facts_.width = hidden_;
    facts_.sound.frames = int64_t{1} << halvings;
    for (int64_t layer = 0; layer <= halvings; ++layer) {
      const int64_t in = layer == 0 ? facts_.sound.mel.mels : 2 * hidden_;
      listener_.push_back({scope / "listener" / layer, in, hidden_ / 2, {.bidirectional = true}});
    }
    begin_ = {scope / "begin", hidden_ / 2, hidden_};
    embedding_ = {scope / "embedding", facts_.vocabulary, embedding_size_, Init::normal(0.1)};
    speller_ = {scope / "speller", embedding_size_ + hidden_, hidden_};
    query_ = {scope / "query", hidden_, hidden_};
    key_ = {scope / "key", hidden_, hidden_, {.bias = false}};
    if (choice_of(config, "score", {"dot", "additive"}) == "additive") {
      spec_.score = Additive{.weight = scope.parameter("score", {1, hidden_}, Init::normal(0.1))};
    } else {
      spec_.score = Dot{1};
    }
    read_ = {scope / "read", 2 * hidden_, hidden_};
    output_ = {scope / "output", hidden_, facts_.vocabulary};
  }

  Tensor logits(Compute& compute, const Batch& input, const Batch* source) const override {
    const Memory memory = listen(compute, *source);
    const Tensor tokens = compute.dropout(embedding_(compute, input.ids), dropout_).reshape({input.batch, input.length, embedding_size_});
    Spelled at = first(memory);
    Steps states, contexts;
    for (int64_t t = 0; t < input.length; ++t) {
      at = next(compute, memory, tokens.select(1, t), at, t);
      states.add(at.state.state[0]);
      contexts.add(at.context);
    }
    if (compute.observes(kCross)) attend(compute, memory, states.rows(compute), 0, true);  // report all rows as one map
    return written(compute, states.rows(compute), contexts.rows(compute));
  }

  void read(Compute& compute, const Batch& source, ModelCache& cache) const override {
    const Memory memory = listen(compute, source);
    cache.source = memory.rows.reshape({source.batch, memory.layout.length, hidden_});
    cache.source_lengths = memory.layout.lengths;
    keep(first(memory), cache);
  }

  Tensor step(Compute& compute, const std::vector<int32_t>& ids, ModelCache& cache) const override {
    Memory memory = memory_of(compute, cache);
    memory.keys = key_(compute, memory.rows);
    const Spelled before{{{cache.states.at(0)}, {cache.states.at(1)}}, cache.states.at(2)};
    const Spelled at = next(compute, memory, embedding_(compute, ids), before, cache.length);
    keep(at, cache);
    return written(compute, at.state.state[0], at.context);
  }

 private:
  struct Spelled {
    nn::RecurrentState state{};
    Tensor context{};
  };

  static void keep(const Spelled& at, ModelCache& cache) { cache.states = {at.state.state[0], at.state.cell[0], at.context}; }

  // Pads the number of frames to a multiple of the frames in one item of a map (2^pyramid_layers), so that the result for a sound does
  // not depend on its batch.
  Memory listen(Compute& compute, const Batch& source) const {
    const int64_t item = facts_.sound.frames, mels = facts_.sound.mel.mels, missing = (item - source.length % item) % item;
    Memory memory{.layout = source.layout()};
    Tensor rows = source.features.reshape({source.batch, source.length, mels});
    if (missing > 0) rows = compute.concat({rows, Tensor::zeros({source.batch, missing, mels})}, 1);
    memory.layout.length += missing;
    nn::RecurrentState last;
    for (size_t layer = 0; layer < listener_.size(); ++layer) {
      if (layer > 0) {  // pairs of frames
        memory.layout.length /= 2;
        for (int32_t& length : memory.layout.lengths) length = (length + 1) / 2;
      }
      rows = compute.dropout(rows.reshape({memory.layout.rows(), rows.numel() / memory.layout.rows()}), layer > 0 ? dropout_ : 0);
      auto heard = listener_[layer](compute, rows, memory.layout);
      rows = heard.rows;
      last = heard.last;
    }
    memory.rows = rows;
    memory.keys = key_(compute, rows);
    memory.begin = compute.activate("tanh", begin_(compute, last.state[1]));
    return memory;
  }

  Spelled first(const Memory& memory) const {
    const Tensor zeros = Tensor::zeros({memory.layout.batch, hidden_});
    return {{{memory.begin}, {zeros}}, zeros};
  }

  Spelled next(Compute& compute, const Memory& memory, const Tensor& tokens, const Spelled& before, int64_t t) const {
    const Layout one{.batch = tokens.size(0), .length = 1};
    Spelled at{speller_(compute, compute.concat({tokens, before.context}, 1), one, before.state).last};
    at.context = attend(compute, memory, at.state.state[0], t, false);
    return at;
  }

  Tensor attend(Compute& compute, const Memory& memory, const Tensor& states, int64_t t, bool reported) const {
    const Site site{.family = "cross", .step = t, .queries = kCross.queries, .keys = kCross.keys, .reported = reported};
    return look(compute, memory, query_(compute, states), spec_, site);
  }

  Tensor written(Compute& compute, const Tensor& states, const Tensor& contexts) const {
    const Tensor x = compute.activate("tanh", read_(compute, compute.concat({states, contexts}, 1)));
    return output_(compute, compute.dropout(x, dropout_));
  }

  int64_t embedding_size_, hidden_;
  double dropout_;
  std::vector<nn::Lstm> listener_{};
  nn::Embedding embedding_{};
  nn::Lstm speller_{};
  nn::Linear begin_{}, query_{}, key_{}, read_{}, output_{};
  AttentionSpec spec_{};
};

}  // namespace

const NetworkKind& listen_attend_spell_network() {
  static const NetworkKind kind{"listen_attend_spell", "sound", &make_network<ListenAttendSpell>};
  return kind;
}

}  // namespace clearhead
