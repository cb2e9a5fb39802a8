// Computes one row in double: scores and their magnitudes, weights, out = Σ_j P_ij a_ij (v_j + offset_ij) and
// Σ_j |P_ij a_ij|·(|v_j| + |offset_ij|).
#include "backends/oracle.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "backends/ref/after.h"
#include "backends/ref/normalise.h"
#include "backends/ref/score_function.h"
#include "backends/widen.h"

namespace clearhead {

using reference::RowOfScores;
using reference::Vector;

namespace {

// Returns d_v, or 0 if the values are unknown: a trace need not keep them.
int64_t value_width(const Keys& keys, const Tensor& v) {
  const PagedKV* pages = std::get_if<PagedKV>(&keys);
  if (!pages) return v.defined() ? v.size(3) : 0;
  for (const auto& sequence : pages->pages) {
    for (const auto& page : sequence) {
      if (page && !page->values.defined()) return 0;
    }
  }
  return pages->d_v;
}

struct WeightError {
  const OracleRow& row;
  double score, weight, delta;
  double operator()(const Softmax&) const { return weight * delta; }
  double operator()(const Sparsemax&) const { return score < row.threshold - 2 * delta ? 0 : 2 * delta; }
  double operator()(const Sigmoid&) const { return weight * delta; }
  double operator()(const Hard&) const { return 0; }
  double operator()(const LinearAttention&) const {
    const double of_sum = static_cast<double>(row.visible) * delta, least = std::abs(row.l) - of_sum;
    return least > 0 ? (delta + std::abs(weight) * of_sum) / least : std::numeric_limits<double>::infinity();
  }
  double operator()(const Entmax15&) const { return score / 2 < row.threshold - delta ? 0 : (2 * std::sqrt(weight) + delta) * delta; }
};

}  // namespace

double weight_error(const Normaliser& normaliser, const OracleRow& row, size_t key, double delta) {
  constexpr double kSolved = 0x1p-22;  // 2ε
  const double used = !reference::leaves_zeros_out(normaliser) ? delta : delta + kSolved;
  return std::visit(WeightError{row, row.scores[key], row.weights[key], used}, normaliser);
}

OracleRow oracle_row(const AttentionSpec& spec, const Tensor& q, const Keys& keys, const Tensor& v, int64_t batch, int64_t head,
                     int64_t query) {
  return oracle_row({.spec = spec, .q = q, .keys = keys, .query_length = q.size(2)}, v, batch, head, query);
}

OracleRow oracle_row(const AttentionRecord& record, const Tensor& v, int64_t batch, int64_t head, int64_t kept) {
  if (!is_wide(record) || !is_wide(v)) return oracle_row(widened(record), widened(v), batch, head, kept);
  const AttentionSpec& spec = record.spec;
  const Tensor& q = record.q;
  const Keys& keys = record.keys;
  constexpr double kHidden = -std::numeric_limits<double>::infinity();
  const int64_t length = key_length(keys);
  const size_t count = static_cast<size_t>(length);
  OracleRow row;
  row.scores.resize(count);
  row.after.assign(count, 0);
  std::vector<double> sizes(count);
  const RowOfScores at{spec, q, keys, batch, head, kept, record.first_query + kept, record.query_length};
  score_row(at, {0, length}, row.scores.data(), sizes.data());

  for (size_t j = 0; j < count; ++j) {
    if (row.scores[j] == kHidden) continue;
    row.largest = std::max(row.largest, sizes[j]);
    ++row.visible;
  }
  const Softmax* softmax = std::get_if<Softmax>(&spec.normaliser);
  if (softmax && softmax->sinks)
    row.largest = std::max(row.largest, std::abs(static_cast<double>(softmax->sinks->data<float>()[head * softmax->sinks->stride(0)])));
  reference::RowWeights normalised = reference::normalise(at, row.scores);
  row.sees_any = normalised.sees_any;
  row.weights = std::move(normalised.weights);
  row.m = normalised.m;
  row.l = normalised.l;
  row.threshold = normalised.threshold;
  row.lead = normalised.lead;

  const int64_t width = value_width(keys, v);
  row.out.assign(static_cast<size_t>(width), 0);
  row.absolute.assign(static_cast<size_t>(width), 0);
  const int64_t key_head = key_heads(keys) > 0 ? head / (q.size(1) / key_heads(keys)) : 0;
  for (size_t j = 0; j < count; ++j) {
    if (row.scores[j] == kHidden) continue;
    row.row_sum += row.weights[j];
    row.after[j] = reference::after_of(at, static_cast<int64_t>(j));
    if (width == 0 || (row.weights[j] == 0 && reference::leaves_zeros_out(spec.normaliser))) continue;
    const Vector value = reference::value_vector(keys, v, batch, key_head, static_cast<int64_t>(j));
    const Vector offset = reference::value_offset(at, static_cast<int64_t>(j));
    const double used = row.weights[j] * row.after[j];
    for (int64_t c = 0; c < width; ++c) {
      const double element = value[c];
      const double beside = offset.first ? offset[c] : 0;
      row.out[static_cast<size_t>(c)] += used * (element + beside);
      row.absolute[static_cast<size_t>(c)] += std::abs(used) * (std::abs(element) + std::abs(beside));
    }
  }
  return row;
}

}  // namespace clearhead
