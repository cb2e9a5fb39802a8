// What networks share that write step by step from what they have read: words, a memory, and attention over it.
#pragma once

#include <vector>

#include "clearhead/model.h"
#include "clearhead/parts.h"

namespace clearhead {

/// The words of source and target: one table, which is the output projection too (Press & Wolf 2017). Parameters "embedding.weight"
/// [word, width] and "bias" [word].
class SharedWords {
 public:
  SharedWords() = default;
  SharedWords(const Scope& scope, int64_t vocabulary, int64_t width, double dropout);
  /// Words as they are read, [ids, width].
  Tensor operator()(Compute& compute, const std::vector<int32_t>& ids) const;
  /// How well each word follows rows [n, width]: logits [n, word].
  Tensor logits(Compute& compute, const Tensor& rows) const;

 private:
  double dropout_ = 0;
  parts::Embedding table_{};
  Tensor bias_{};
};

/// Rows [batch, width], one a step, as the rows of sequences.
class Steps {
 public:
  void add(const Tensor& rows) { steps_.push_back(rows.reshape({rows.size(0), 1, rows.size(1)})); }
  /// [batch·step, width]
  Tensor rows(Compute& compute) const;

 private:
  std::vector<Tensor> steps_{};
};

/// What was read, one sequence for each that is written.
struct Memory {
  Layout layout{};
  Tensor rows{};   // [rows, width]: what a context is made of
  Tensor keys{};   // [rows, d]: what queries are compared with
  Tensor begin{};  // [batch, state]: the writer's first state
};

/// The rows of a cache's sources, a copy for each sequence that is written from them; keys are left to the network.
Memory memory_of(Compute& compute, const ModelCache& cache);

/// Contexts of queries [batch·n, d], n of each sequence: attention of one head over the memory, padding left out.
/// → [batch·n, width]
Tensor look(Compute& compute, const Memory& memory, const Tensor& queries, AttentionSpec spec, const Site& site);

/// Where in what was read a state looks: p_t = S·σ(vᵀ tanh(W s_t)), S the words read (Luong, Pham & Manning 2015, eq. 9).
struct PredictedCentre {
  parts::Linear state{}, place{};
  PredictedCentre() = default;
  PredictedCentre(const Scope& scope, int64_t width);
  /// The centres of states [batch·n, width], n of each text: [batch, 1, n].
  Tensor operator()(Compute& compute, const Layout& read, const Tensor& states) const;
};

}  // namespace clearhead
