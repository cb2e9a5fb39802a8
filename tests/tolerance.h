// The bounds of docs/NUMERICS.md, by name. ε = 2⁻²³; S_i = the largest size a visible score of row i was made of
// (scale·Σ|q||k| + Σ_terms|value|, and |sink logit|): an f32 chain cannot know its score better than a few ε·S_i.
#pragma once

#include <cmath>
#include <cstdint>

#include "clearhead/tensor.h"

namespace clearhead::tolerance {

inline constexpr double kEpsilon = 0x1p-23;
inline constexpr double kForwardF32 = 2e-6;     // |err| ≤ (this + 4εS)·Σ_j P_ij|V_jc|
inline constexpr double kWeightF32 = 1e-6;      // |ΔP| ≤ P·(this + 4εS)
inline constexpr double kGradientF32 = 1e-5;    // |err| ≤ (this + 4εS)·the sum of the sizes of a gradient's parts
inline constexpr double kRowSum = 1e-5;         // row sums: what the oracle says ± this
inline constexpr double kDecodeWeight = 1e-6;   // weights of one row in prefill and in decode, relative
inline constexpr double kSweep = 1e-5;          // a statistic of n weights, relative to the sum of the sizes of its parts
inline constexpr double kUnderflow = 0x1p-120;  // weights below may be zero: 2^(s − m) has left f32's normal range
/// What a pair's part of a gradient may lose where a product is no normal number and counts as zero: 2⁻¹²⁶, while P is held times up to 2¹⁶.
inline constexpr double kSubnormal = 0x1p-110;

/// Where the kernel keeps P in bf16, beside the bounds of f32: |err| ≤ this·(Σ_j P_ij|V_jc| + |out_ic|). Each P_ij and thereby their sum is off by up to 2⁻⁸ of
/// itself: Σ_j P_ij·e_j·(V_jc − out_ic) to first order, e_j of either sign.
inline constexpr double kForwardBF16 = 0x1p-8;

/// Where the kernel of the gradients meets rows with P and dS in bf16: |err| ≤ this·(the sum of the sizes of a gradient's parts), beside the others.
inline constexpr double kGradientBF16 = 0x1p-8;

/// Half the spacing of numbers of a dtype, relative: what rounding to it once may cost. Nothing where results are f32 as they are.
inline double rounding(DType dtype) { return dtype == DType::kBF16 ? 0x1p-8 : dtype == DType::kF16 ? 0x1p-11 : 0; }
/// The same of one value: below f16's smallest normal number the spacing stays.
inline double rounding(DType dtype, double value) { return rounding(dtype) * std::abs(value) + (dtype == DType::kF16 ? 0x1p-25 : 0); }

inline double of_scores(double largest) { return 4 * kEpsilon * largest; }
// Features are of one sign, so that a chain's roundings grow with its partial sums: by √d, not with what is left of them.
inline double of_features(double largest, int64_t d_k) { return (4 + std::sqrt(static_cast<double>(d_k))) * kEpsilon * largest; }
inline double forward(double largest) { return kForwardF32 + of_scores(largest); }
inline double weight(double largest) { return kWeightF32 + of_scores(largest); }
inline double gradient(double largest) { return kGradientF32 + of_scores(largest); }
/// Where out and the gradients are rounded: each of them once, and D_i = dO_i·out_i is made of a rounded out.
inline double gradient(double largest, DType dtype) { return gradient(largest) + 2 * rounding(dtype); }
inline double sweep(double largest) { return kSweep + of_scores(largest); }
/// Of what multiplies a weight once normalised, relative: the exponent of a Gaussian is known to a few ε of itself.
inline double after(double factor) { return factor == 0 ? 0 : kWeightF32 + 4 * kEpsilon * std::abs(std::log(std::abs(factor))); }
/// A log-sum-exp is stored as f32 itself.
inline double log_sum_exp(double largest, double value) { return weight(largest) + kEpsilon * std::abs(value); }

}  // namespace clearhead::tolerance
