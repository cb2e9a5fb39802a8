// Building blocks of networks that read a source and write a target step by step: the shared word table, the memory of the
// encoded source, and attention over this memory.
#pragma once

#include <vector>

#include "clearhead/model.h"
#include "clearhead/nn.h"

namespace clearhead {

/// The word embeddings of source and target in one table, which is also the output projection (Press & Wolf 2017).
/// Parameters: "embedding.weight" [word, width] and "bias" [word].
class SharedWords {
 public:
  SharedWords() = default;
  SharedWords(const Scope& scope, int64_t vocabulary, int64_t width, double dropout);
  /// Embeds words, with dropout.   → [ids, width]
  Tensor operator()(Compute& compute, const std::vector<int32_t>& ids) const;
  /// Logits of the next word.   rows: [n, width] → [n, word]
  Tensor logits(Compute& compute, const Tensor& rows) const;

 private:
  double dropout_ = 0;
  nn::Embedding table_{};
  Tensor bias_{};
};

/// Collects one tensor [batch, width] per step and concatenates them to sequences.
class Steps {
 public:
  void add(const Tensor& rows) { steps_.push_back(rows.reshape({rows.size(0), 1, rows.size(1)})); }
  /// [batch·step, width]
  Tensor rows(Compute& compute) const;

 private:
  std::vector<Tensor> steps_{};
};

/// The encoded sources: one sequence for each target sequence.
struct Memory {
  Layout layout{};
  Tensor rows{};   // [rows, width]: the values of attention; a context is a weighted sum of them
  Tensor keys{};   // [rows, d]: the keys of attention
  Tensor begin{};  // [batch, state]: initial state of the decoder
};

/// The memory of a cache: the rows of its sources, copied for each sequence that is generated from them. The network fills in
/// the keys.
Memory memory_of(Compute& compute, const ModelCache& cache);

/// Attention of one head over the memory, without its padding.
/// queries: [batch·n, d], n for each sequence → contexts [batch·n, width]
Tensor look(Compute& compute, const Memory& memory, const Tensor& queries, AttentionSpec spec, const Site& site);

/// Predicts the source position that a decoder state attends to: p_t = S·σ(vᵀ tanh(W s_t)), where S is the number of words in
/// the source (Luong, Pham & Manning 2015, eq. 9).
struct PredictedCentre {
  nn::Linear state{}, place{};
  PredictedCentre() = default;
  PredictedCentre(const Scope& scope, int64_t width);
  /// states: [batch·n, width], n for each text → centres [batch, 1, n]
  Tensor operator()(Compute& compute, const Layout& read, const Tensor& states) const;
};

}  // namespace clearhead
