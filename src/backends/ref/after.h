// Factors on normalised weights (dropout, head mask, Gaussian) and their gradients, in double.
//
//   A_ij = P_ij·a_ij      a_ij = keep_ij/(1 − rate) · mask_h · e^{−(j − c_i)²/(2σ²)}
//   d mask_h = Σ dA_ij P_ij a_ij/mask_h      d c_i = Σ_j dA_ij P_ij a_ij·(j − c_i)/σ²      dP_ij = a_ij dA_ij
//
// Sources: Srivastava et al. 2014; Luong, Pham & Manning 2015, eq. 10.
#pragma once

#include <cstdint>

#include "backends/ref/score.h"

namespace clearhead::reference {

/// Returns a_ij.
double after_of(const RowOfScores& at, int64_t key);

/// Returns dP, given dA (`d_after`), and adds to the gradients of the operands.
Sum reverse_after(const RowOfScores& at, int64_t key, double weight, double weight_size, Sum d_after, OperandSums& operands);

}  // namespace clearhead::reference
