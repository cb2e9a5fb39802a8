// Marginals of a linear-chain conditional random field over the keys of a query, in a form that attention can add to its scores.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/ops.h"

namespace clearhead::ops {

/// For each query i, a conditional random field chooses a subset of the keys: z_j is 1 if key j is chosen, and
///   p(z) ∝ exp(Σ_j s_ij·z_j + Σ_j t[z_j, z_{j+1}])        (Kim, Denton, Hoang & Rush 2017, §3.1 and §4.2)
/// Writes ln p(z_j = 1) − s_ij. Softmax over s_ij plus this bias gives p(z_j = 1) / Σ_k p(z_k = 1), and its log-sum-exp is the logarithm of
/// the expected number of chosen keys. Computed in double by the forward–backward algorithm, in time linear in the number of keys.
///
/// scores: f32 [batch, head, query, key]; transitions: f32 [2, 2]; both contiguous. lengths: [batch] keys of each sequence, 1 … key; empty:
/// all keys. The result is 0 for keys beyond the length, whose scores are not read.
/// Throws kShape if a shape differs, kInvalidArgument for a length out of range.
void chain_bias(Run& run, const Tensor& scores, const Tensor& transitions, const std::vector<int32_t>& lengths, Tensor& out);

}  // namespace clearhead::ops
