// One row of attention, computed eagerly in double, with the magnitudes that error bounds are built from. Tests and the
// viewer's "verify" compare fast results with it. It reads 16-bit operands as stored, that is, already rounded. It
// shares no code with the kernels and does not read row statistics.
#pragma once

#include <cstdint>
#include <vector>

#include "clearhead/record.h"
#include "clearhead/spec.h"

namespace clearhead {

struct OracleRow {
  std::vector<double> scores{};   // [key] natural units, −∞ if hidden
  std::vector<double> weights{};  // [key] 0 if hidden
  std::vector<double> after{};    // [key] factor applied to the weight after normalisation (`after`); 0 if hidden
  std::vector<double> out{};      // [d_v]
  // [d_v] Σ_j |P_ij·a_ij|·(|v_jc| + |offset_ijc|), where offset is C[δ] of a relative score: errors of out are measured
  // relative to it.
  std::vector<double> absolute{};
  // S_i: the maximum of |sink logit| and, over visible j, of the sum of the absolute addends of s_ij (score_row in
  // ref/score.h): for a dot product, scale·Σ_c|q_ic k_jc| + Σ_terms|value|.
  double largest = 0;
  // Σ_j P_ij. If the normaliser makes weights sum to one: 1 minus the share of a sink logit. 0 if no key is visible.
  double row_sum = 0;
  double m = 0, l = 0;   // the row's m and ℓ in a record (record.h)
  double threshold = 0;  // τ
  // Hard attention: the margin of the chosen score, including noise, over the next; infinite if there is no other.
  double lead = 0;
  int64_t visible = 0;  // number of visible keys
  bool sees_any = false;
};

/// Bounds how much the weight of a visible pair changes when scores and row statistics change by `delta`:
///   softmax      P·delta
///   sigmoid      P·delta      hard  0
///   sparsemax    2δ, from the errors of score and threshold; 0 if s < τ − 2δ
///   entmax-1.5   2√P·δ + δ²; 0 if s/2 < τ − δ
///   linear       (delta + |P|·n·delta) / (|ℓ| − n·delta), n = row.visible; infinite if the sum can be 0
/// where δ = delta + 2ε with ε = 2⁻²³: kernels solve for the threshold in f32, relative to the largest score, and the
/// solution has an error of its own.
double weight_error(const Normaliser& normaliser, const OracleRow& row, size_t key, double delta);

/// Computes row `row` of the rows that a record keeps, from its Q, keys and description.
/// v: [batch, key_head, key, d_v]; undefined if the keys are pages. Without values, `out` and `absolute` stay empty.
OracleRow oracle_row(const AttentionRecord& record, const Tensor& v, int64_t batch, int64_t head, int64_t row);
/// The same for a call whose q holds all queries.
OracleRow oracle_row(const AttentionSpec& spec, const Tensor& q, const Keys& keys, const Tensor& v, int64_t batch, int64_t head,
                     int64_t query);

}  // namespace clearhead
