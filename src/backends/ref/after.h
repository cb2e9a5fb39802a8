// Factors on a weight after normalisation, in double: P_ij·a_ij,
// a_ij = keep_ij/(1 − rate) · mask_h · e^{−(j − c_i)²/(2σ²)}.
//
//   d mask_h = Σ dA_ij P_ij a_ij/mask_h      d c_i = Σ_j dA_ij P_ij a_ij·(j − c_i)/σ²      dP_ij = a_ij dA_ij
//
// Sources: Srivastava et al. 2014; Luong, Pham & Manning 2015, eq. 10.
#pragma once

#include <cstdint>

#include "backends/ref/score.h"

namespace clearhead::reference {

/// a_ij.
double after_of(const RowOfScores& at, int64_t key);

/// Returns dP from dA, the gradient of P_ij·a_ij, and adds to the operands' gradients.
Sum reverse_after(const RowOfScores& at, int64_t key, double weight, double weight_size, Sum d_after, OperandSums& operands);

}  // namespace clearhead::reference
