// End-to-end memory network (Sukhbaatar, Szlam, Weston & Fergus 2015): the statements of a story are the slots of a memory, and the
// question attends to them in several hops before it is answered.
//
//   m_i = Σ_j l_j ⊙ A x_ij + T_A(i)     c_i = Σ_j l_j ⊙ C x_ij + T_C(i)     u = Σ_j l_j ⊙ B q_j                            (§2.1, §4.1)
//   l_kj = (1 − j/J) − (k/d)·(1 − 2j/J)    word j of J, channel k of d: position encoding, which keeps the word order      (§4.1, PE)
//   p = softmax(uᵀ m_i)    o = Σ_i p_i c_i    u ← u + o in each hop;    logits = W u                                        (eq. 1–3)
//
//   T(i)            a learned vector for the age of a statement; age 0 is the latest. Only the "memory_size" latest statements are read
//   "tying"         "adjacent": C of a hop is A of the next hop, and B is the first A. "layer-wise": all hops share A and C, B is a
//                   separate table, and u ← H u + o (§2.2)
//   "empty_slots"   number n of additional slots of zeros, to which a hop that needs no statement can attend. Their scores and values are
//                   0, so together they act as a sink with logit ln n. In the authors' code, the unused slots of the memory have this
//                   role (MemNN, train.m)
//   "noise"         in training, the probability of a slot without words before each statement; such slots have an age (§4.1, RN)
#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "models/networks/networks.h"

namespace clearhead {
namespace {

class MemoryNetwork final : public Network {
 public:
  MemoryNetwork(Fields& config, NetworkFacts facts, const Scope& scope)
      : width_(size_of(config, "hidden_size")),
        hops_(size_of(config, "hops", 100)),
        slots_(size_of(config, "memory_size", 1 << 16)),
        noise_(rate_of(config, "noise")),
        dropout_(rate_of(config, "dropout")),
        is_adjacent_(choice_of(config, "tying", {"adjacent", "layer-wise"}) == "adjacent") {
    if (facts.vocabulary < 1) config.wrong("vocab_size", "1 or more tokens", Json(facts.vocabulary));
    const int64_t empty = config.integer_or("empty_slots", 0);
    if (empty < 0 || empty > 1 << 16) config.wrong("empty_slots", "a whole number from 0 to 65536", Json(empty));
    if (empty > 0) over_slots_.sinks = Tensor::from<float>({std::log(static_cast<float>(empty))}, {1});
    if (facts.labels.empty()) config.wrong("id2label", "the labels", Json());
    facts_ = std::move(facts);
    facts_.width = width_;
    facts_.layers = hops_;
    facts_.slots = slots_;
    const int64_t tables = is_adjacent_ ? hops_ + 1 : 2;
    for (int64_t at = 0; at < tables; ++at) {
      words_.emplace_back(scope / "words" / at, facts_.vocabulary, width_, kInit);
      ages_.emplace_back(scope / "ages" / at, slots_, width_, kInit);
    }
    if (!is_adjacent_) {
      question_ = {scope / "question", facts_.vocabulary, width_, kInit};
      next_ = {scope / "next", width_, width_, {.bias = false, .init = kInit}};
    }
    answer_ = {scope / "answer", width_, static_cast<int64_t>(facts_.labels.size()), {.bias = false, .init = kInit}};
  }

  Tensor logits(Compute& compute, const Batch& input, const Batch* source) const override {
    const Batch story = noise_ > 0 && compute.is_training() ? with_gaps(*source, compute.dropout_seed()) : *source;
    const Layout& memory = story.groups;
    const Tensor places = weights_of_places(story);
    const std::vector<int32_t> ages = ages_of(memory);
    std::vector<Tensor> sides;  // [batch, 1, slot, width] for each table
    for (size_t at = 0; at < words_.size(); ++at) {
      const Tensor slots = compute.add(sums(compute, words_[at], story, places), ages_[at](compute, ages));
      sides.push_back(compute.dropout(slots, dropout_).reshape({memory.batch, 1, memory.length, width_}));
    }
    AttentionSpec spec{.score = Dot{1}, .normaliser = over_slots_};
    spec.topology.segments = Segments{Tensor::zeros({memory.batch, 1}, DType::kI32), memory.segments()};
    Tensor u = sums(compute, is_adjacent_ ? words_[0] : question_, input, weights_of_places(input));
    for (int64_t hop = 0; hop < hops_; ++hop) {
      const auto side = static_cast<size_t>(is_adjacent_ ? hop : 0);
      const Site site{.family = "hop", .layer = static_cast<int>(hop), .queries = "query", .keys = "slot"};
      const Tensor o = compute.attend(u.reshape({memory.batch, 1, 1, width_}), sides[side], sides[side + 1], spec, site);
      u = compute.add(is_adjacent_ ? u : next_(compute, u), o.reshape({memory.batch, width_}));
    }
    return answer_(compute, compute.dropout(u, dropout_));
  }

 private:
  static constexpr Init kInit{Init::Kind::kNormal, 0.1};

  // The weights l of each word; 0 for padding.   → [sequence, word, width]
  Tensor weights_of_places(const Batch& rows) const {
    Tensor out = Tensor::zeros({rows.batch, rows.length, width_});
    float* to = out.mutable_data<float>();
    for (int64_t sequence = 0; sequence < rows.batch; ++sequence) {
      const auto length = static_cast<float>(rows.lengths[static_cast<size_t>(sequence)]);
      for (int64_t j = 1; j <= rows.length; ++j, to += width_) {
        const float place = static_cast<float>(j) / length;
        for (int64_t k = 1; k <= width_ && place <= 1; ++k)
          to[k - 1] = (1 - place) - static_cast<float>(k) / static_cast<float>(width_) * (1 - 2 * place);
      }
    }
    return out;
  }

  // Σ_j l_j ⊙ E x_j of each sequence.   → [sequence, width]
  Tensor sums(Compute& compute, const nn::Embedding& table, const Batch& rows, const Tensor& places) const {
    return compute.sum(compute.multiply(table(compute, rows.ids).reshape(places.shape()), places), 1);
  }

  static int64_t length_of(const Layout& memory, int64_t story) {
    return memory.lengths.empty() ? memory.length : memory.lengths[static_cast<size_t>(story)];
  }

  static std::vector<int32_t> ages_of(const Layout& memory) {
    std::vector<int32_t> ages;
    for (int64_t story = 0; story < memory.batch; ++story) {
      for (int64_t slot = 0; slot < memory.length; ++slot)
        ages.push_back(static_cast<int32_t>(std::max<int64_t>(0, length_of(memory, story) - 1 - slot)));
    }
    return ages;
  }

  // Inserts a slot without words before each statement with probability "noise", then drops the oldest slots beyond memory_size.
  Batch with_gaps(const Batch& story, uint64_t seed) const {
    std::vector<std::vector<int64_t>> slots(static_cast<size_t>(story.groups.batch));  // rows of the story; −1: a slot without words
    Batch out{.length = story.length, .groups = {.batch = story.groups.batch}};
    uint64_t drawn = 0;
    for (int64_t at = 0; at < story.groups.batch; ++at) {
      std::vector<int64_t>& own = slots[static_cast<size_t>(at)];
      for (int64_t slot = 0; slot < length_of(story.groups, at); ++slot) {
        if (random_unit(seed, drawn++) < noise_) own.push_back(-1);
        own.push_back(at * story.groups.length + slot);
      }
      if (const auto over = static_cast<int64_t>(own.size()) - slots_; over > 0) own.erase(own.begin(), own.begin() + over);
      out.groups.length = std::max(out.groups.length, static_cast<int64_t>(own.size()));
      out.groups.lengths.push_back(static_cast<int32_t>(own.size()));
    }
    out.batch = out.groups.rows();
    for (std::vector<int64_t>& own : slots) {
      own.resize(static_cast<size_t>(out.groups.length), -1);
      for (const int64_t row : own) {
        const auto from = story.ids.begin() + std::max<int64_t>(0, row) * story.length;
        out.ids.insert(out.ids.end(), from, from + story.length);
        out.lengths.push_back(row < 0 ? 0 : story.lengths[static_cast<size_t>(row)]);
      }
    }
    return out;
  }

  int64_t width_, hops_, slots_;
  Softmax over_slots_{};
  double noise_, dropout_;
  bool is_adjacent_;
  std::vector<nn::Embedding> words_{}, ages_{};
  nn::Embedding question_{};
  nn::Linear next_{}, answer_{};
};

}  // namespace

const NetworkKind& memory_network_network() {
  static const NetworkKind kind{"memory_network", "story", &make_network<MemoryNetwork>};
  return kind;
}

}  // namespace clearhead
