// Scores in base 2, as kernels and row statistics count them.
//
// From 2²⁴ on f32 has no fractions, and two f32 numbers of a row could not place a finer score beside its largest one. There every table takes a score as f32
// has it: what is equal to the largest is so exactly, and what is not lies at least 2 below it, or 4, or 8, …. Beyond the end of f32 a score is infinite.
#pragma once

#include <cmath>
#include <numbers>

namespace clearhead {

inline constexpr float kWholeScores = 0x1p24F;  // in base 2: from here on
inline constexpr float kLowestScore = -2e30F;   // in base 2: what lies below is hidden, as −∞ is

/// A score, or a sink logit, in natural units → base 2.
inline double in_base_2(double score) {
  const double c = score * std::numbers::log2e;
  return std::abs(c) < static_cast<double>(kWholeScores) ? c : static_cast<double>(static_cast<float>(c));
}

}  // namespace clearhead
