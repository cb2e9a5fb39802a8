// A row's two numbers in the form the kernels use.
//
//   softmax      P = 2^(s − m)/ℓ = 2^(s − ⌊m⌋)·inverse,   inverse = 2^(⌊m⌋ − m)/ℓ
//   sigmoid      m is −bias·log₂e; inverse is 1
//   linear       inverse is ln 2/ℓ, 0 where ℓ is 0
//   the others   m is the record's; inverse is 1
//
// Of a look at weights as used, ℓ is the sum of what was rounded (RowStats::used).
//
// The cpu backend's own shifts are integers, so that inverse is 1/ℓ; a record made by another backend has any m.
#pragma once

#include <cmath>
#include <limits>

#include "backends/cpu/score_view.h"
#include "clearhead/look.h"
#include "clearhead/record.h"

namespace clearhead::cpu {

struct RowShift {
  float m = 0;              // softmax: integral
  float inverse = 0;        // 0 for a row that saw nothing
  double log_sum_exp2 = 0;  // softmax: m + log₂ℓ; 0 for a row that saw nothing
  bool saw_nothing = true;
};

/// Whether a look shows weights that were rounded.
inline bool shows_rounded(const AttentionRecord& record, Precision precision) {
  return precision == Precision::kAsUsed && record.rows.used.defined();
}

inline RowShift row_shift(const AttentionRecord& record, int64_t batch, int64_t head, int64_t row,
                          Precision precision = Precision::kExact) {
  const Tensor &m = record.rows.m, &l = shows_rounded(record, precision) ? record.rows.used : record.rows.l;
  const double shift = static_cast<double>(m.data<float>()[batch * m.stride(0) + head * m.stride(1) + row * m.stride(2)]);
  const double sum = static_cast<double>(l.data<float>()[batch * l.stride(0) + head * l.stride(1) + row * l.stride(2)]);
  if (shift == -std::numeric_limits<double>::infinity()) return {};
  if (const Sigmoid* sigmoid = std::get_if<Sigmoid>(&record.spec.normaliser)) return {-sigmoid->bias * kLog2E, 1, 0, false};
  if (std::holds_alternative<Linear>(record.spec.normaliser)) {
    return {0, sum == 0 ? 0 : static_cast<float>(0.69314718055994530942 / sum), 0, false};
  }
  if (kind_of(record.spec.normaliser) != WeightKind::kSoftmax) return {static_cast<float>(shift), 1, 0, false};
  const double whole = std::floor(shift);
  return {static_cast<float>(whole), static_cast<float>((shift == whole ? 1.0 : std::exp2(whole - shift)) / sum), shift + std::log2(sum),
          false};
}

}  // namespace clearhead::cpu
