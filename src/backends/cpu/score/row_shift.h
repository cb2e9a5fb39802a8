// The statistics m and ℓ of a row (RowStats), in the form that kernels use to recompute weights.
//
//   softmax      P = 2^(s − m)/ℓ = 2^(s − ⌊m⌋)·inverse,   inverse = 2^(⌊m⌋ − m)/ℓ
//   sigmoid      m is −bias·log₂e; inverse is 1
//   linear       inverse is ln 2/ℓ, 0 where ℓ is 0
//   thresholds   (sparsemax, entmax) m is the largest score, `threshold` is τ relative to it; inverse is 1.
//   hard         m is the record's; inverse is 1
//
// With LookPrecision::kAsUsed, ℓ is the sum of the rounded weights (RowStats::used).
//
// For softmax, the cpu backend's own m is an integer, so inverse is 1/ℓ. A record of another backend may have any m.
#pragma once

#include <cmath>
#include <limits>
#include <numbers>

#include "backends/cpu/score/score_view.h"
#include "clearhead/look.h"
#include "clearhead/record.h"

namespace clearhead::cpu {

struct RowShift {
  float m = 0;          // softmax: integral
  float threshold = 0;  // natural units
  float inverse = 0;    // 0 for a row that saw no key
  // Softmax: the record's m + log₂ℓ; 0 for a row that saw no key.
  double log_sum_exp2 = 0;
  double log_rest = 0;  // softmax: log_sum_exp2 − m, which f32 would lose if m is large
  bool saw_nothing = true;
};

/// Returns true if the weights are to be recomputed with the rounding of the bf16 kernel that computed the call.
inline bool shows_rounded(const AttentionRecord& record, LookPrecision precision) {
  return precision == LookPrecision::kAsUsed && record.rows.used.defined();
}

inline RowShift row_shift(const AttentionRecord& record, int64_t batch, int64_t head, int64_t row,
                          LookPrecision precision = LookPrecision::kExact) {
  const Tensor &m = record.rows.m, &l = shows_rounded(record, precision) ? record.rows.used : record.rows.l;
  const double shift = static_cast<double>(m.data<float>()[batch * m.stride(0) + head * m.stride(1) + row * m.stride(2)]);
  const double sum = static_cast<double>(l.data<float>()[batch * l.stride(0) + head * l.stride(1) + row * l.stride(2)]);
  if (shift == -std::numeric_limits<double>::infinity()) return {};
  const Normaliser& normaliser = record.spec.normaliser;
  RowShift out{.saw_nothing = false};
  if (const Sigmoid* sigmoid = std::get_if<Sigmoid>(&normaliser)) {
    out.m = -sigmoid->bias * kLog2E, out.inverse = 1;
  } else if (std::holds_alternative<LinearAttention>(normaliser)) {
    out.inverse = sum == 0 ? 0 : static_cast<float>(std::numbers::ln2 / sum);
  } else if (std::holds_alternative<Hard>(normaliser)) {
    out.m = static_cast<float>(shift), out.inverse = 1;
  } else if (!std::holds_alternative<Softmax>(normaliser)) {
    out.m = static_cast<float>(shift), out.threshold = static_cast<float>(sum), out.inverse = 1;
  } else {
    const double whole = std::floor(shift);
    out.m = static_cast<float>(whole);
    out.inverse = static_cast<float>((shift == whole ? 1.0 : std::exp2(whole - shift)) / sum);
    out.log_sum_exp2 = shift + std::log2(sum);
    out.log_rest = (shift - whole) + std::log2(sum);
  }
  return out;
}

}  // namespace clearhead::cpu
