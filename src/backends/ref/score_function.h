// The score functions of q and k, and their gradients, in double.
//
//   dot        scale·Σ_c q_c·k_c
//   additive   Σ_c w_c·φ(q_c + k_c)
//   relative   scale·Σ_c (q_c·k_c + (q_c + u_c)·A_c[δ] + k_c·B_c[δ]); C[δ] is also added to the value
//
// φ, u, A, B, C and δ are defined in spec.h.
#pragma once

#include <cstdint>

#include "backends/ref/backward.h"
#include "backends/ref/score.h"

namespace clearhead::reference {

/// Returns the score of a visible (query, key) pair before the terms, with its size.
Sum score_function(const RowOfScores& at, int64_t key);

/// Given the gradient of a pair's score, adds to the gradients of its query and key (d_q and d_k, [d_k] each) and of the
/// operands.
void reverse_score_function(const RowOfScores& at, int64_t key, const Sum& d_score, Sum* d_q, Sum* d_k, OperandSums& operands);

/// Returns the vector C[δ] that a relative score adds to the value of a key; `first` is null if it adds nothing.
Vector value_offset(const RowOfScores& at, int64_t key);
/// Adds weight·d_out to the gradient of C[δ].
void reverse_value_offset(const RowOfScores& at, int64_t key, const Sum& weight, const Vector& d_out, OperandSums& operands);

}  // namespace clearhead::reference
