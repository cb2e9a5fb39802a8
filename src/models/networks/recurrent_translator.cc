// Recurrent encoder-decoders for translation, the models for which attention was introduced: a bidirectional GRU encodes a text, and a
// second GRU generates another text, with attention to the encoded words before each word.
//
//   "score": "additive"   Bahdanau, Cho & Bengio 2015, A.1 and A.2: the query is the state s_{t−1}, e_tj = vᵀ tanh(W s_{t−1} + U h_j),
//                         and the context is an input of the next state
//            "dot", "general", "concat"   Luong, Pham & Manning 2015, eq. 8: the query is the state s_t, and s̃_t = tanh(W [c_t; s_t])
//            "none"       no attention: only the initial state depends on the source (Sutskever, Vinyals & Le 2014)
//   "where": "global"     attends to all words
//            "local-m"    attends to the 2·"reach" + 1 words around word t (§3.2)
//            "local-p"    attends to the words around a predicted centre p_t = S·σ(vᵀ tanh(W s_t)), weighted by a Gaussian (eq. 9, 10);
//                         S: number of source words
//   "choice": "soft", or "hard": attends to a single word, sampled by its weight in training, otherwise the word with the largest weight
//             (Xu et al. 2015, §4.1)
//   "normaliser": see models/normaliser.h; for hard choice and for local attention only softmax
#include "base/format.h"
#include "models/attending.h"
#include "models/networks/networks.h"
#include "models/normaliser.h"

namespace clearhead {
namespace {

const Site kCross{.family = "cross", .queries = "target", .keys = "source"};

class RecurrentTranslator final : public Network {
 public:
  RecurrentTranslator(Fields& config, NetworkFacts facts, const Scope& scope)
      : embedding_size_(size_of(config, "embedding_size")),
        hidden_(size_of(config, "hidden_size")),
        reach_(config.integer_or("reach", 4)),
        score_(choice_of(config, "score", {"additive", "dot", "general", "concat", "none"})),
        where_(choice_of(config, "where", {"global", "local-m", "local-p"})),
        is_hard_(choice_of(config, "choice", {"soft", "hard"}) == "hard") {
    if (hidden_ % 2 != 0) config.wrong("hidden_size", "an even number: half for each direction of the encoder", Json(hidden_));
    if (facts.vocabulary < 1) config.wrong("vocab_size", "1 or more tokens", Json(facts.vocabulary));
    if (reach_ < 1) config.wrong("reach", "1 or more tokens", Json(reach_));
    if (where_ != "global" && (is_fed() || score_ == "none"))
      config.wrong("where", "global; local attention needs the \"score\" dot, general or concat", Json(where_));
    facts_ = std::move(facts);
    facts_.width = hidden_;
    words_ = {scope, facts_.vocabulary, embedding_size_, rate_of(config, "dropout")};
    encoder_ = {scope / "encoder", embedding_size_, hidden_ / 2, {.bidirectional = true}};
    begin_ = {scope / "begin", score_ == "none" ? hidden_ : hidden_ / 2, hidden_};
    decoder_ = {scope / "decoder", embedding_size_ + (is_fed() ? hidden_ : 0), hidden_};
    if (score_ != "dot" && score_ != "none") query_ = {scope / "query", hidden_, hidden_, {.bias = false}};
    if (is_additive()) {
      key_ = {scope / "key", hidden_, hidden_, {.bias = false}};
      spec_.score = Additive{.weight = scope.parameter("score", {1, hidden_}, Init::normal(0.1))};
    } else {
      spec_.score = Dot{1};
    }
    if (where_ == "local-p") centre_ = {scope, hidden_};
    normaliser_ = {config, scope / "chain"};
    if (!normaliser_.is_softmax() && (where_ != "global" || is_hard_ || score_ == "none"))
      config.wrong("normaliser", R"(softmax; others need a "score", "where": "global" and "choice": "soft")", Json(normaliser_.name()));
    read_ = {scope / "read", hidden_ + (score_ == "none" ? 0 : hidden_), embedding_size_};
  }

  Tensor logits(Compute& compute, const Batch& input, const Batch* source) const override {
    const Memory memory = encode(compute, *source);
    const Tensor words = words_(compute, input.ids);
    nn::RecurrentState state{.state = {memory.begin}};
    if (!is_fed()) {
      const Tensor states = decoder_(compute, words, {input.batch, input.length}, state).rows;
      return written(compute, states, score_ == "none" ? Tensor() : context(compute, memory, states, 0));
    }
    const Tensor by_text = words.reshape({input.batch, input.length, embedding_size_});
    Steps asking, states, contexts;
    for (int64_t t = 0; t < input.length; ++t) {
      asking.add(state.state[0]);
      const Tensor seen = context(compute, memory, state.state[0], t, false);
      state = next(compute, by_text.select(1, t), seen, state);
      contexts.add(seen);
      states.add(state.state[0]);
    }
    if (compute.observes(kCross)) context(compute, memory, asking.rows(compute), 0);  // report all rows as one map
    return written(compute, states.rows(compute), contexts.rows(compute));
  }

  void read(Compute& compute, const Batch& source, ModelCache& cache) const override {
    const Memory memory = encode(compute, source);
    cache.source = memory.rows.reshape({source.batch, source.length, hidden_});
    cache.source_lengths = source.lengths;
    cache.states = {memory.begin};
  }

  Tensor step(Compute& compute, const std::vector<int32_t>& ids, ModelCache& cache) const override {
    Memory memory = memory_of(compute, cache);
    memory.keys = keys_of(compute, memory.rows);
    nn::RecurrentState state{.state = {cache.states.at(0)}};
    Tensor seen;
    if (is_fed()) seen = context(compute, memory, state.state[0], cache.length);
    state = next(compute, words_(compute, ids), seen, state);
    if (!is_fed() && score_ != "none") seen = context(compute, memory, state.state[0], cache.length);
    cache.states = {state.state[0]};
    return written(compute, state.state[0], seen);
  }

 private:
  bool is_additive() const { return score_ == "additive" || score_ == "concat"; }
  bool is_fed() const { return score_ == "additive"; }
  Tensor keys_of(Compute& compute, const Tensor& rows) const { return is_additive() ? key_(compute, rows) : rows; }

  Memory encode(Compute& compute, const Batch& source) const {
    Memory memory{.layout = source.layout()};
    const auto [rows, last] = encoder_(compute, words_(compute, source.ids), memory.layout);
    memory.rows = rows;
    memory.keys = keys_of(compute, rows);
    // The last state of the backward GRU; without attention, those of both directions.
    const Tensor ends = score_ == "none" ? compute.concat(last.state, 1) : last.state[1];
    memory.begin = compute.activate("tanh", begin_(compute, ends));
    return memory;
  }

  nn::RecurrentState next(Compute& compute, const Tensor& words, const Tensor& context, const nn::RecurrentState& before) const {
    const Tensor x = is_fed() ? compute.concat({words, context}, 1) : compute.contiguous(words);
    return decoder_(compute, x, {.batch = words.size(0), .length = 1}, before).last;
  }

  // Contexts of states [texts·n, hidden], n for each source text. `first` is the step of the first state of each text.
  Tensor context(Compute& compute, const Memory& memory, const Tensor& states, int64_t first, bool reported = true) const {
    const Tensor q = query_ ? query_(compute, states) : states;
    AttentionSpec spec = spec_;
    if (where_ == "local-m") spec.topology.band = {.back = reach_, .ahead = reach_, .align = Align::kStart, .offset = first};
    if (where_ == "local-p") {
      spec = local_p(centre_(compute, memory.layout, states), reach_);
      spec.score = spec_.score;
    }
    if (is_hard_) {
      using Choice = Hard::Choice;
      spec.normaliser = Hard{.choice = compute.is_training() ? Choice::kSampled : Choice::kArgmax,
                             .gradient = Hard::Gradient::kStraightThrough,
                             .seed = compute.is_training() ? compute.dropout_seed() : 0};
    }
    if (!normaliser_.is_softmax()) spec = normaliser_.described(compute, memory, q, spec);
    const Site site{.family = kCross.family, .step = first, .queries = kCross.queries, .keys = kCross.keys, .reported = reported};
    return look(compute, memory, q, spec, site);
  }

  Tensor written(Compute& compute, const Tensor& states, const Tensor& context) const {
    const Tensor x = context.defined() ? compute.concat({states, context}, 1) : states;
    return words_.logits(compute, compute.activate("tanh", read_(compute, x)));
  }

  int64_t embedding_size_, hidden_, reach_;
  std::string score_, where_;
  bool is_hard_;
  SharedWords words_{};
  nn::Gru encoder_{}, decoder_{};
  nn::Linear begin_{}, query_{}, key_{}, read_{};
  PredictedCentre centre_{};
  ConfiguredNormaliser normaliser_{};
  AttentionSpec spec_{};
};

}  // namespace

const NetworkKind& recurrent_translator_network() {
  static const NetworkKind kind{"recurrent_translator", "pair", &make_network<RecurrentTranslator>};
  return kind;
}

}  // namespace clearhead
