// The score functions of q and k, and their gradients, in double.
//
//   dot        scale·Σ_c q_c·k_c
//   additive   Σ_c w_c·φ(q_c + k_c)
//   relative   scale·Σ_c (q_c·k_c + (q_c + u_c)·A_c[δ] + k_c·B_c[δ]); and C[δ] is added to the value
#pragma once

#include <cstdint>

#include "backends/ref/backward.h"
#include "backends/ref/score.h"

namespace clearhead::reference {

/// The score of a visible (query, key) pair before the terms. Its size is the sum of its parts' absolute values.
Sum score_function(const RowOfScores& at, int64_t key);

/// Given the gradient of a pair's score, adds to the gradients of its query and key, d_q and d_k
/// [d_k each], and of the operands.
void reverse_score_function(const RowOfScores& at, int64_t key, const Sum& d_score, Sum* d_q, Sum* d_k, OperandSums& operands);

/// What a relative score adds to the value of a key; `first` is null if it adds nothing.
Vector value_offset(const RowOfScores& at, int64_t key);
/// Adds to the gradient of that table: weight·d_out.
void reverse_value_offset(const RowOfScores& at, int64_t key, const Sum& weight, const Vector& d_out, OperandSums& operands);

}  // namespace clearhead::reference
