// The score of a (query, key) pair, computed from the formula, in double.
//
//   s_ij = score function of q_i and k_j (score_function.h)  →  each term in the order written  →  −∞ where hidden
//
// A score that is −∞ after any step stays −∞: a bias of −∞ hides its pair even if a soft cap follows. At the end, a score
// below kLowestScore (spec/base2.h) also becomes −∞. Hidden keys are never read. Keys are read one at a time, from a
// tensor of any strides or from the panels of pages.
#pragma once

#include <cstdint>

#include "clearhead/look.h"
#include "clearhead/record.h"
#include "clearhead/spec.h"

namespace clearhead::reference {

struct Sum;  // backward.h
class OperandSums;

/// A view of one key or value vector, of any real dtype.
struct Vector {
  const std::byte* first = nullptr;
  int64_t step = 0;  // elements
  DType dtype = DType::kF32;

  double operator[](int64_t c) const {
    if (dtype == DType::kF32) return static_cast<double>(reinterpret_cast<const float*>(first)[c * step]);
    const uint16_t bits = reinterpret_cast<const uint16_t*>(first)[c * step];
    return static_cast<double>(dtype == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits));
  }
};

Vector key_vector(const Keys& keys, int64_t batch, int64_t key_head, int64_t key);
/// From v, or from the pages when the keys are pages.
Vector value_vector(const Keys& keys, const Tensor& v, int64_t batch, int64_t key_head, int64_t key);

/// Everything that the scores of one row depend on.
struct RowOfScores {
  const AttentionSpec& spec;
  const Tensor& q;  // f32 [batch, head, row, d_k]
  const Keys& keys;
  int64_t batch = 0, head = 0;
  int64_t row = 0;           // of q
  int64_t query = 0;         // index of the row's query in the call
  int64_t query_length = 0;  // number of queries in the call
};

/// The position of the query among the keys.
int64_t position_of(const RowOfScores& at);
int64_t key_head_of(const RowOfScores& at);

/// Writes the scores of keys [range.begin, range.end) in natural units, −∞ where hidden. If `magnitudes` is not null, also
/// writes the sum of the absolute addends of each score (0 where hidden): for a dot product, scale·Σ_c|q_c k_c| +
/// Σ_terms|value|.
void score_row(const RowOfScores& at, Range range, double* scores, double* magnitudes = nullptr);

/// Returns the gradient of a visible pair's score before the terms, given that of the score after them. Adds to the
/// gradients of the terms' operands.
Sum reverse_terms(const RowOfScores& at, int64_t key, Sum d_score, OperandSums& operands);

}  // namespace clearhead::reference
