// Pointer-generator network (See, Liu & Manning 2017, "Get to the point: summarization with pointer-generator networks", §2.1 and 2.2): a
// bidirectional LSTM encodes a text, an LSTM generates a shorter one, and each word is generated from the vocabulary or copied from the
// source words that the decoder attends to.
//
//   e_tj = vᵀ tanh(W_h h_j + W_s s_t + b)      a_t = softmax(e_t)      c_t = Σ_j a_tj h_j                       (eq. 1–3)
//   P_vocabulary = softmax(E tanh(U [s_t; c_t] + b) + b')                                                     (eq. 4)
//   p_gen = σ(w·[c_t; s_t; y_{t−1}] + b)                                                                      (eq. 8)
//   P(w) = p_gen·P_vocabulary(w) + (1 − p_gen)·Σ_{j: x_j = w} a_tj                                             (eq. 9)
//
// The attention weights are part of the output. Each value is h_j followed by a one-hot row that identifies x_j among the distinct tokens
// of the source, so one attention call over all steps returns both c_t and the copy probability of each token. "copies": false disables
// eq. 8 and 9.
//
// Source and target share a vocabulary and its table E, which is also the output projection (Press & Wolf 2017). Tokens are subwords, so
// no word is unknown and the vocabulary needs no extension. Coverage (§2.3) is not implemented: it would require one step at a time.
#include <map>

#include "models/attending.h"
#include "models/networks/networks.h"

namespace clearhead {
namespace {

class PointerGenerator final : public Network {
 public:
  PointerGenerator(Fields& config, NetworkFacts facts, const Scope& scope)
      : embedding_size_(size_of(config, "embedding_size")),
        hidden_(size_of(config, "hidden_size")),
        dropout_(rate_of(config, "dropout")),
        copies_(config.boolean_or("copies", true)) {
    if (hidden_ % 2 != 0) config.wrong("hidden_size", "an even number: half for each direction of the encoder", Json(hidden_));
    if (facts.vocabulary < 1) config.wrong("vocab_size", "1 or more tokens", Json(facts.vocabulary));
    facts_ = std::move(facts);
    facts_.width = hidden_;
    words_ = {scope, facts_.vocabulary, embedding_size_, dropout_};
    encoder_ = {scope / "encoder", embedding_size_, hidden_ / 2, {.bidirectional = true}};
    begin_ = {scope / "begin", hidden_, hidden_};
    decoder_ = {scope / "decoder", embedding_size_, hidden_};
    query_ = {scope / "query", hidden_, hidden_};
    key_ = {scope / "key", hidden_, hidden_, {.bias = false}};
    spec_.score = Additive{.weight = scope.parameter("score", {1, hidden_}, Init::normal(0.1))};
    read_ = {scope / "read", 2 * hidden_, embedding_size_};
    if (copies_) gate_ = {scope / "gate", 2 * hidden_ + embedding_size_, 1};
  }

  Tensor logits(Compute& compute, const Batch& input, const Batch* source) const override {
    const Memory memory = encode(compute, *source);
    const Tensor words = words_(compute, input.ids);
    const auto [states, last] =
        decoder_(compute, words, {input.batch, input.length}, {{memory.begin}, {Tensor::zeros(memory.begin.shape())}});
    return written(compute, remembered(compute, memory, source->ids), words, states, 0);
  }

  void read(Compute& compute, const Batch& source, ModelCache& cache) const override {
    const Memory memory = encode(compute, source);
    // The cache stores rows, keys and token ids side by side.
    const Tensor tokens = Tensor::from(std::vector<float>(source.ids.begin(), source.ids.end()), {memory.layout.rows(), 1});
    cache.source = compute.concat({memory.rows, memory.keys, tokens}, 1).reshape({source.batch, source.length, 2 * hidden_ + 1});
    cache.source_lengths = source.lengths;
    cache.states = {memory.begin, Tensor::zeros(memory.begin.shape())};
  }

  Tensor step(Compute& compute, const std::vector<int32_t>& ids, ModelCache& cache) const override {
    Memory memory = memory_of(compute, cache);
    const Tensor ids_of_rows = memory.rows.slice(1, 2 * hidden_, 2 * hidden_ + 1).contiguous();
    const std::vector<int32_t> tokens(ids_of_rows.data<float>(), ids_of_rows.data<float>() + ids_of_rows.numel());
    memory.keys = compute.contiguous(memory.rows.slice(1, hidden_, 2 * hidden_));
    memory.rows = compute.contiguous(memory.rows.slice(1, 0, hidden_));
    const Tensor words = words_(compute, ids);
    const auto [states, last] = decoder_(compute, words, {cache.batch, 1}, {{cache.states.at(0)}, {cache.states.at(1)}});
    cache.states = {last.state[0], last.cell[0]};
    return written(compute, remembered(compute, memory, tokens), words, states, cache.length);
  }

 private:
  // A memory with one-hot rows appended to the encoded rows. The column of a token is the position of its first occurrence in the text.
  struct Remembered {
    Memory memory{};
    std::vector<int32_t> tokens{};  // [batch, length]: the token of each column; −1: no token
  };

  Memory encode(Compute& compute, const Batch& source) const {
    Memory memory{.layout = source.layout()};
    const auto [rows, last] = encoder_(compute, words_(compute, source.ids), memory.layout);
    memory.rows = compute.dropout(rows, dropout_);
    memory.keys = key_(compute, memory.rows);
    memory.begin = compute.activate("tanh", begin_(compute, compute.concat(last.state, 1)));
    return memory;
  }

  // ids: the token ids of the memory's rows
  Remembered remembered(Compute& compute, Memory memory, const std::vector<int32_t>& ids) const {
    Remembered out{.memory = std::move(memory)};
    if (!copies_) return out;
    const Layout& layout = out.memory.layout;
    const auto length = static_cast<size_t>(layout.length);
    Tensor which = Tensor::zeros({layout.rows(), layout.length});
    float* row = which.mutable_data<float>();
    out.tokens.assign(ids.size(), -1);
    for (size_t text = 0; text < ids.size(); text += length) {
      std::map<int32_t, size_t> columns;
      for (size_t j = 0; j < length; ++j, row += length) {
        if (!layout.lengths.empty() && j >= static_cast<size_t>(layout.lengths[text / length])) continue;
        const int32_t id = ids[text + j];
        const size_t column = columns.try_emplace(id, j).first->second;
        row[column] = 1;
        out.tokens[text + column] = id;
      }
    }
    out.memory.rows = compute.concat({out.memory.rows, which}, 1);
    return out;
  }

  // Log-probabilities of the next word after each of these words and states, n for each text; without "copies", logits.
  // first: the step of the first of them
  Tensor written(Compute& compute, const Remembered& read, const Tensor& words, const Tensor& states, int64_t first) const {
    const Site site{.family = "cross", .step = first, .queries = "target", .keys = "source"};
    const Tensor seen = look(compute, read.memory, query_(compute, states), spec_, site);
    const Tensor context = compute.contiguous(seen.slice(1, 0, hidden_));
    const Tensor x = compute.activate("tanh", read_(compute, compute.concat({states, context}, 1)));
    const Tensor logits = words_.logits(compute, x);
    if (!copies_) return logits;
    const Tensor gate = gate_(compute, compute.concat({context, states, words}, 1));
    return compute.pointer_mixture(logits, gate, compute.contiguous(seen.slice(1, hidden_, seen.size(1))), read.tokens);
  }

  int64_t embedding_size_, hidden_;
  double dropout_;
  bool copies_;
  SharedWords words_{};
  nn::Lstm encoder_{}, decoder_{};
  nn::Linear begin_{}, query_{}, key_{}, read_{}, gate_{};
  AttentionSpec spec_{};
};

}  // namespace

const NetworkKind& pointer_generator_network() {
  static const NetworkKind kind{"pointer_generator", "pair", &make_network<PointerGenerator>};
  return kind;
}

}  // namespace clearhead
