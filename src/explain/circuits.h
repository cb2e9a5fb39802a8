// The circuits of an attention head over the vocabulary, from its weights alone (Elhage et al. 2021, "A Mathematical Framework for
// Transformer Circuits").
//
//   QK   score of query token s for key token t:          (W_Q·norm(E_s) + b_Q)·(W_K·norm(E_t)) / √d
//   OV   logit of token u per unit of attention to t:     U_u·γ_f·W_O·W_V·norm(E_t)
//
// E is the embedding, U the unembedding, `norm` the layer's norm before attention and γ_f the gain of the final norm. Both are matrices
// over vocabulary × vocabulary of rank head_dim. They are kept as two factors, f32 [vocabulary, head_dim], and their entries are computed
// block by block.
//
// Conventions:
//   norm       Each embedding is normalised as if it were the whole residual stream: exact for the first layer of a model without position
//              embeddings. A layer norm in front of U is linear except for its scale, which is left out: its gain and its centring are
//              part of U.
//   offsets    Entries of QK are relative to the mean over all keys, entries of OV to the mean over all output tokens: softmax does not
//              change when a number is added to all scores of a row. So biases of keys, which add the same number to a row, have no effect.
//   left out   Position encodings (rotary: the score at distance 0), terms added to the scores, and the part of OV that does not depend on
//              the source token: the biases of V, of W_O, of both norms and of U.
#pragma once

#include <cstdint>
#include <vector>

#include "clearhead/nn.h"
#include "clearhead/tensor.h"

namespace clearhead::explain {

/// Both ends of a model. The tables are f32, bf16 or f16.
struct VocabularyEnds {
  Tensor embedding{};    ///< [vocabulary, width]
  double scale = 1;      ///< embeddings are multiplied by it
  Tensor unembedding{};  ///< [vocabulary, width]
  nn::Norm final_norm{};

  int64_t vocabulary() const { return embedding.size(0); }
  int64_t width() const { return embedding.size(1); }
  /// Throws kShape if the tables or the norm do not fit each other.
  void check() const;
};

/// The attention weights of one layer, f32.
struct AttentionWeights {
  nn::Norm norm{};  ///< before attention; without a weight: there is no norm
  int64_t heads = 0, key_heads = 0, head_dim = 0;
  Tensor query{};         ///< [heads · head_dim, width]
  Tensor query_bias{};    ///< [heads · head_dim]; undefined: no bias
  Tensor key{}, value{};  ///< [key_heads · head_dim, width]
  Tensor output{};        ///< [heads · head_dim, width]: each row is what one channel adds to the residual stream
  double scale = 1;       ///< of the scores: 1/√head_dim

  /// Throws kShape if the weights do not fit each other, or `width`.
  void check(int64_t width) const;
  /// The rows of one head, [head_dim, width]. Query heads of a group share the rows of their key head.
  Tensor query_of(int64_t head) const { return query.slice(0, head * head_dim, (head + 1) * head_dim); }
  Tensor key_of(int64_t head) const { return of_key_head(key, head); }
  Tensor value_of(int64_t head) const { return of_key_head(value, head); }
  Tensor output_of(int64_t head) const { return output.slice(0, head * head_dim, (head + 1) * head_dim); }

 private:
  Tensor of_key_head(const Tensor& rows, int64_t head) const {
    const int64_t at = head / (heads / key_heads);
    return rows.slice(0, at * head_dim, (at + 1) * head_dim);
  }
};

struct TokenPair {
  int32_t row = 0, column = 0;
  float value = 0;
};
struct TokenValue {
  int32_t token = 0;
  float value = 0;
};

/// A matrix over vocabulary × vocabulary whose entry (i, j) is rows_i · columns_j.
struct VocabularyMatrix {
  Tensor rows{}, columns{};  ///< f32 [vocabulary, rank]

  /// The largest entries, the largest first; of equal entries those of earlier rows and columns. Time O(vocabulary² · rank), memory
  /// O(count) besides a block of 8 MB. Throws kInvalidArgument unless `count` is positive.
  std::vector<TokenPair> largest(int64_t count) const;
  /// The largest entries of one row, the largest first, or the smallest, the smallest first. Throws kInvalidArgument for a row that does
  /// not exist.
  std::vector<TokenValue> largest_of_row(int64_t row, int64_t count) const;
  std::vector<TokenValue> smallest_of_row(int64_t row, int64_t count) const;
  /// For each of at most `most_rows` evenly spaced rows i, the part of the other columns whose entry is smaller than entry (i, i); returns the
  /// mean over these rows. It is 1 if the diagonal entry is always the largest of its row, and about 1/2 for a random matrix.
  double rank_of_own_column(int64_t most_rows = 1024) const;
};

/// The circuits of one head. Throw kShape as check() does, kInvalidArgument for a head that does not exist.
VocabularyMatrix qk_circuit(const VocabularyEnds& ends, const AttentionWeights& weights, int64_t head);
VocabularyMatrix ov_circuit(const VocabularyEnds& ends, const AttentionWeights& weights, int64_t head);

/// A score and its distribution for random weights of the same shape.
struct NullDistribution {
  double mean = 0, deviation = 0;
  double z(double score) const { return (score - mean) / deviation; }
};

/// The copying score Σ λ / Σ |λ| of a head, with the eigenvalues λ of its OV circuit: 1 if every eigenvalue is positive, so that the head
/// raises the logits of the tokens that it attends to; −1 if it lowers them (Elhage et al. 2021, "Summarizing OV/QK matrices").
///
/// The eigenvalues other than 0 are those of a matrix over head_dim × head_dim. It follows from Uᵀ·norm(E), [width, width], which the
/// constructor computes once for all layers in O(vocabulary · width²).
class CopyingScores {
 public:
  /// norm: one of the norms before attention. Its gain is not used; the others must have its kind and its epsilon.
  CopyingScores(const VocabularyEnds& ends, const nn::Norm& norm);
  /// Throws kInvalidArgument for a head that does not exist, or a norm of another kind. NaN if all eigenvalues are 0.
  double of(const AttentionWeights& weights, int64_t head) const;
  /// The scores of `samples` random heads with weights from N(0, 1), behind the norm of this layer.
  NullDistribution null(const AttentionWeights& weights, int64_t samples = 64, uint64_t seed = 1) const;

 private:
  void check(const AttentionWeights& weights) const;
  std::vector<double> over_channels(const Tensor& value, const Tensor& output, const nn::Norm& norm) const;

  Tensor kernel_{};  // f32 [width of U, width of E]
  nn::Norm norm_{}, final_norm_{};
};

}  // namespace clearhead::explain
