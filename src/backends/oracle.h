// The eager formula of one row in double, with the sizes that error bounds are made of: what tests, and the viewer's "verify", hold fast results
// against. Of 16-bit operands it reads the rounded values. It shares nothing with the kernels, nor with row statistics.
#pragma once

#include <cstdint>
#include <vector>

#include "clearhead/record.h"
#include "clearhead/spec.h"

namespace clearhead {

struct OracleRow {
  std::vector<double> scores{};    // [key] natural units, −∞ where hidden
  std::vector<double> weights{};   // [key] 0 where hidden
  std::vector<double> after{};     // [key] what a weight is multiplied by once normalised; 0 where hidden
  std::vector<double> out{};       // [d_v]
  std::vector<double> absolute{};  // [d_v] Σ_j P_ij·|a_ij·V_jc|: what errors of out are measured in
  double largest = 0;              // S_i: max over visible j of (scale·Σ_c|q_ic k_jc| + Σ_terms|value|), and |sink logit|
  double row_sum = 0;              // Σ_j P_ij: 1, less the share of a sink logit; 0 where nothing is visible
  double m = 0, l = 0;             // what a record keeps of the row (record.h)
  double threshold = 0;            // τ
  double lead = 0;      // of a hard choice: by how much its score, noise included, is ahead of the next; infinite where there is none
  int64_t visible = 0;  // keys
  bool sees_any = false;
};

/// By how much the weight of a visible pair may move when scores and what is kept of the row move by `delta`:
///   softmax      P·delta
///   sigmoid      P·delta      hard  0
///   sparsemax    2δ: the score's error and the threshold's; 0 where s < τ − 2δ
///   entmax-1.5   2√P·δ + δ²; 0 where s/2 < τ − δ
///   linear       (delta + |P|·n·delta) / (|ℓ| − n·delta), n = row.visible; boundless where the sum may be 0
/// with δ = delta + 2ε: thresholds are solved for in f32, next to the largest score.
double weight_error(const Normaliser& normaliser, const OracleRow& row, size_t key, double delta);

/// Row `row` of those the record keeps, from its Q, its keys and its description, not its row statistics. v: [batch, key_head, key, d_v]; undefined when the
/// keys are pages; undefined with tensor keys leaves out and absolute empty.
OracleRow oracle_row(const AttentionRecord& record, const Tensor& v, int64_t batch, int64_t head, int64_t row);
/// Of a call whose every query is in q.
OracleRow oracle_row(const AttentionSpec& spec, const Tensor& q, const Keys& keys, const Tensor& v, int64_t batch, int64_t head,
                     int64_t query);

}  // namespace clearhead
