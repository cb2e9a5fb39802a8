// Scores in base 2, the unit of kernels and row statistics.
//
// From 2²⁴ on, f32 has no fractions, so m and ℓ of a row (record.h), which are f32, could not tell the largest score from
// a slightly smaller one. In that range every backend rounds scores to f32: a score equals the largest exactly, or lies
// at least 2 (or 4, 8, …) below it. Beyond the range of f32 a score is infinite.
#pragma once

#include <cmath>
#include <numbers>

namespace clearhead {

inline constexpr float kWholeScores = 0x1p24F;  // in base 2: from here on scores are rounded to f32
inline constexpr float kLowestScore = -2e30F;   // in base 2: a lower score counts as hidden, like −∞

/// Converts a score or a sink logit from natural units to base 2.
inline double in_base_2(double score) {
  const double c = score * std::numbers::log2e;
  return std::abs(c) < static_cast<double>(kWholeScores) ? c : static_cast<double>(static_cast<float>(c));
}

}  // namespace clearhead
