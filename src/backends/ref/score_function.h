// What the pair of a description gives q and k, and its gradient, in double.
//
//   dot        scale·Σ_c q_c·k_c
//   additive   Σ_c w_c·φ(q_c + k_c)
//   relative   scale·Σ_c (q_c·k_c + (q_c + u_c)·A_c[δ] + k_c·B_c[δ]); and C[δ] beside the value
#pragma once

#include <cstdint>

#include "backends/ref/backward.h"
#include "backends/ref/score.h"

namespace clearhead::reference {

/// The score of a visible pair before the terms; its size is the sum of its parts' absolute values.
Sum score_function(const RowOfScores& at, int64_t key);

/// Adds what a pair's query and key take of the gradient of its score to d_q and d_k [d_k each], and to the operands what they take.
void reverse_score_function(const RowOfScores& at, int64_t key, const Sum& d_score, Sum* d_q, Sum* d_k, OperandSums& operands);

/// What a relative pair adds to the value of a key; no first element: nothing.
Vector value_offset(const RowOfScores& at, int64_t key);
/// Adds what that takes of the gradient of out: weight·d_out.
void reverse_value_offset(const RowOfScores& at, int64_t key, const Sum& weight, const Vector& d_out, OperandSums& operands);

}  // namespace clearhead::reference
