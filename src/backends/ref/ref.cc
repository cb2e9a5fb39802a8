// The reference backend's table: plain loops that return out, m and ℓ as a fused backend does.
//
//   s_i  →  P_i, m_i, ℓ_i (normalise.h)  →  out_i = Σ_j P_ij·a_ij·v_j (a_ij: after.h)      m_i and ℓ_i are stored in f32
//
// Memory: one row of scores in double per thread. Weights and sweeps use the record's m and ℓ; they do not normalise the
// scores again.
#include "backends/ref/ref.h"

#include <limits>
#include <numbers>
#include <vector>

#include "backends/ref/after.h"
#include "backends/ref/backward.h"
#include "backends/ref/dense.h"
#include "backends/ref/normalise.h"
#include "backends/ref/score_function.h"
#include "backends/ref/sweep.h"
#include "backends/sweep_rows.h"
#include "backends/widen.h"
#include "base/parallel.h"

namespace clearhead {
namespace {

using reference::RecordedRow;
using reference::RowOfScores;
using reference::RowWeights;
using reference::score_row;
using reference::Vector;

constexpr double kHidden = -std::numeric_limits<double>::infinity();

std::optional<std::string> refusal(const AttentionSpec&, const AttentionShape&) { return std::nullopt; }

// Output pointers of a forward pass. mutable_data is called once per tensor, before the parallel loop, because every call
// increments the tensor's version.
struct Outputs {
  float* out = nullptr;  // [batch, head, query, d_v] by the strides of call.out
  float* m = nullptr;    // [batch, head, query]
  float* l = nullptr;
};

void forward_row(const ForwardCall& call, const Outputs& to, int64_t batch, int64_t head, int64_t query) {
  const int64_t keys = key_length(call.keys), width = call.out.size(3), heads = call.q.size(1), queries = call.q.size(2);
  const int64_t key_head = head / (heads / key_heads(call.keys));
  std::vector<double> scores(static_cast<size_t>(keys)), out(static_cast<size_t>(width));
  const RowOfScores at{call.spec, call.q, call.keys, batch, head, query, query, queries};
  score_row(at, {0, keys}, scores.data());
  const RowWeights weighed = reference::normalise(at, scores);
  const bool skips = reference::leaves_zeros_out(call.spec.normaliser);
  for (int64_t j = 0; j < keys; ++j) {
    const double weight = weighed.weights[static_cast<size_t>(j)];
    if (scores[static_cast<size_t>(j)] == kHidden || (weight == 0 && skips)) continue;
    const Vector value = reference::value_vector(call.keys, call.v, batch, key_head, j);
    const Vector offset = reference::value_offset(at, j);
    const double used = weight * reference::after_of(at, j);
    for (int64_t c = 0; c < width; ++c) out[static_cast<size_t>(c)] += used * value[c];
    for (int64_t c = 0; c < width && offset.first; ++c) out[static_cast<size_t>(c)] += used * offset[c];
  }
  const int64_t row = (batch * heads + head) * queries + query;
  to.m[row] = static_cast<float>(weighed.m);
  to.l[row] = reference::stored_l(call.spec.normaliser, weighed.l);
  float* first = to.out + batch * call.out.stride(0) + head * call.out.stride(1) + query * call.out.stride(2);
  for (int64_t c = 0; c < width; ++c) first[c * call.out.stride(3)] = static_cast<float>(out[static_cast<size_t>(c)]);
}

void forward(const ForwardCall& call) {
  const int64_t heads = call.q.size(1), queries = call.q.size(2);
  const int64_t rows = call.q.size(0) * heads * queries;
  if (rows == 0) return;
  const Outputs to{call.out.mutable_data<float>(), call.rows.m.mutable_data<float>(), call.rows.l.mutable_data<float>()};
  parallel_for(rows, [&](int64_t row, int) { forward_row(call, to, row / queries / heads, row / queries % heads, row % queries); });
  sweep_rows(call, reference::sweep);
}

float answer(const WeightsCall& call, const RowOfScores& at, int64_t key, double score, const RecordedRow& row) {
  using Quantity = WeightsCall::Quantity;
  if (call.quantity == Quantity::kScore2) return static_cast<float>(score * std::numbers::log2e);
  if (score == kHidden) return call.quantity == Quantity::kWeightOrNaN ? std::numeric_limits<float>::quiet_NaN() : 0;
  const double weight = reference::weight_of(call.record.spec.normaliser, score, key, row);
  return static_cast<float>(call.after ? weight * reference::after_of(at, key) : weight);
}

void weights(const WeightsCall& call) {
  const AttentionRecord& record = call.record;
  parallel_for(call.row_count, [&](int64_t r, int) {
    std::vector<double> scores(static_cast<size_t>(call.keys.size()));
    const int64_t row = call.rows[r];
    const RowOfScores at{record.spec, record.q, record.keys, call.batch, call.head, row, record.first_query + row, record.query_length};
    score_row(at, call.keys, scores.data());
    const RecordedRow recorded = reference::recorded_row(record, call.batch, call.head, row, call.precision);
    for (size_t j = 0; j < scores.size(); ++j) {
      const int64_t place = static_cast<int64_t>(j);
      call.out[r * call.out_stride + place] = answer(call, at, call.keys.begin + place, scores[j], recorded);
    }
  });
}

}  // namespace

const Backend& ref_backend() {
  static const Backend table = [] {
    Backend backend;
    backend.name = "ref";
    backend.isa = InstructionSet::kReference;
    backend.refusal = refusal;
    backend.forward = [](const ForwardCall& call) { forward_widened(call, forward); };
    backend.backward = [](const BackwardCall& call) { backward_widened(call, /*as_given=*/false, reference::backward); };
    backend.weights = [](const WeightsCall& call) { weights_widened(call, weights); };
    backend.sweep = [](const SweepCall& call) { return sweep_widened(call, reference::sweep); };
    backend.dense = ref_dense_ops();
    backend.gradients = ref_dense_gradients();
    return backend;
  }();
  return table;
}

}  // namespace clearhead
