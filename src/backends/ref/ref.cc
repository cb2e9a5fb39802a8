// The table of obvious loops: fused in its results (out, m, ℓ), eager in its arithmetic.
//
//   m_i = f32(max_j s_ij·log₂e)      ℓ_i = f32(Σ_j 2^(s_ij·log₂e − m_i))      out_i = Σ_j 2^(s_ij·log₂e − m_i)·v_j / Σ
//
// One row of scores in double is all the memory taken. Weights and sweeps start from the record's m and ℓ, never from a new maximum.
#include "backends/ref/ref.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "backends/ref/backward.h"
#include "backends/ref/dense.h"
#include "backends/ref/score.h"
#include "backends/ref/sweep.h"
#include "base/parallel.h"

namespace clearhead {
namespace {

using reference::kLog2E;
using reference::score_row;
using reference::Vector;

constexpr double kHidden = -std::numeric_limits<double>::infinity();
constexpr float kNothing = -std::numeric_limits<float>::infinity();

std::optional<std::string> refusal(const AttentionSpec&, const AttentionShape&) { return std::nullopt; }

// max(a, b) that keeps a NaN of either.
double greater(double a, double b) { return std::isnan(a) || a > b ? a : b; }

// Where a forward writes: opened once, so that the versions of its outputs do not depend on threads.
struct Outputs {
  float* out = nullptr;  // [batch, head, query, d_v] by the strides of call.out
  float* m = nullptr;    // [batch, head, query]
  float* l = nullptr;
};

void forward_row(const ForwardCall& call, const Outputs& to, int64_t batch, int64_t head, int64_t query) {
  const int64_t keys = key_length(call.keys), width = call.out.size(3), heads = call.q.size(1), queries = call.q.size(2);
  const int64_t key_head = head / (heads / key_heads(call.keys));
  std::vector<double> scores(static_cast<size_t>(keys)), out(static_cast<size_t>(width));
  score_row({call.spec, call.q, call.keys, batch, head, query, query, queries}, {0, keys}, scores.data());
  double shift = kHidden;
  bool sees_any = false;
  for (double& score : scores) {
    sees_any = sees_any || score != kHidden;
    score *= kLog2E;
    shift = greater(score, shift);
  }
  const auto sink = reference::sink_of(call.spec, head);
  if (sink && sees_any) shift = greater(*sink * kLog2E, shift);
  shift = static_cast<double>(static_cast<float>(shift));
  double sum = sink && sees_any ? std::exp2(*sink * kLog2E - shift) : 0;
  for (int64_t j = 0; j < keys; ++j) {
    const double score = scores[static_cast<size_t>(j)];
    if (score == kHidden) continue;
    const double share = std::exp2(score - shift);
    sum += share;
    const Vector value = reference::value_vector(call.keys, call.v, batch, key_head, j);
    for (int64_t c = 0; c < width; ++c) out[static_cast<size_t>(c)] += share * static_cast<double>(value.first[c * value.step]);
  }
  const int64_t row = (batch * heads + head) * queries + query;
  to.m[row] = sees_any ? static_cast<float>(shift) : kNothing;
  to.l[row] = static_cast<float>(sum);
  float* first = to.out + batch * call.out.stride(0) + head * call.out.stride(1) + query * call.out.stride(2);
  for (int64_t c = 0; c < width; ++c) first[c * call.out.stride(3)] = sees_any ? static_cast<float>(out[static_cast<size_t>(c)] / sum) : 0;
}

void forward(const ForwardCall& call) {
  const int64_t heads = call.q.size(1), queries = call.q.size(2);
  const int64_t rows = call.q.size(0) * heads * queries;
  if (rows == 0) return;
  const Outputs to{call.out.mutable_data<float>(), call.rows.m.mutable_data<float>(), call.rows.l.mutable_data<float>()};
  parallel_for(rows, [&](int64_t row, int) { forward_row(call, to, row / queries / heads, row / queries % heads, row % queries); });
}

float answer(WeightsCall::Quantity quantity, double score, double m, double l) {
  const bool hidden = score == kHidden;
  switch (quantity) {
    case WeightsCall::Quantity::kScore2: return static_cast<float>(score * kLog2E);
    case WeightsCall::Quantity::kWeight: return hidden ? 0 : static_cast<float>(std::exp2(score * kLog2E - m) / l);
    case WeightsCall::Quantity::kWeightOrNaN:
      return hidden ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(std::exp2(score * kLog2E - m) / l);
  }
  return 0;
}

void weights(const WeightsCall& call) {
  const AttentionRecord& record = call.record;
  std::vector<double> scores(static_cast<size_t>(call.keys.size()));
  for (int64_t r = 0; r < call.row_count; ++r) {
    const int64_t row = call.rows[r];
    score_row({record.spec, record.q, record.keys, call.batch, call.head, row, record.first_query + row, record.query_length}, call.keys,
              scores.data());
    const int64_t at = call.batch * record.rows.m.stride(0) + call.head * record.rows.m.stride(1) + row * record.rows.m.stride(2);
    const double m = static_cast<double>(record.rows.m.data<float>()[at]), l = static_cast<double>(record.rows.l.data<float>()[at]);
    for (size_t j = 0; j < scores.size(); ++j)
      call.out[r * call.out_stride + static_cast<int64_t>(j)] = answer(call.quantity, scores[j], m, l);
  }
}

}  // namespace

const Backend& ref_backend() {
  static const Backend table = [] {
    Backend backend;
    backend.name = "ref";
    backend.isa = InstructionSet::kReference;
    backend.refusal = refusal;
    backend.forward = forward;
    backend.backward_refusal = refusal;
    backend.backward = reference::backward;
    backend.weights = weights;
    backend.sweep = reference::sweep;
    backend.dense = ref_dense_ops();
    return backend;
  }();
  return table;
}

}  // namespace clearhead
