#include "compare.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "backends/ref/normalise.h"
#include "backends/widen.h"
#include "base/format.h"
#include "base/parallel.h"
#include "largest.h"
#include "tolerance.h"

namespace clearhead::conformance {
namespace {

constexpr double kHidden = -std::numeric_limits<double>::infinity();

// "weight of batch 0 head 1 query 7 element 3"
struct Place {
  const char* what;
  const Expected& e;
  int64_t element = -1;
  std::string operator()() const {
    const std::string row = format("{} of batch {} head {} query {}", what, e.batch, e.head, e.query);
    return element < 0 ? row : format("{} element {}", row, element);
  }
};

std::vector<Expected> expected_among(const Case& c, int64_t first, int64_t rows, int64_t most) {
  const int64_t count = std::min(rows, most);
  std::vector<Expected> expected(static_cast<size_t>(count));
  const Tensor q = widened(c.q), v = widened(c.v);  // converted once, not for every row
  const Keys keys = widened(c.keys);
  parallel_for(count, [&](int64_t n, int) {
    const int64_t row = first + (count == 1 ? 0 : n * (rows - 1) / (count - 1));
    const int64_t query = row % c.shape.queries, head = row / c.shape.queries % c.shape.heads,
                  batch = row / c.shape.queries / c.shape.heads;
    OracleRow oracle = oracle_row(c.spec, q, keys, v, batch, head, query);
    RowBounds bounds = bounds_of(c.spec, oracle, c.keys, c.v, batch, head / (c.shape.heads / c.shape.key_heads));
    expected[static_cast<size_t>(n)] = {batch, head, query, std::move(oracle), std::move(bounds)};
  });
  return expected;
}

double at(const Tensor& rows, const Expected& e) {
  return static_cast<double>(rows.data<float>()[e.batch * rows.stride(0) + e.head * rows.stride(1) + e.query * rows.stride(2)]);
}

void check_row_kept(const Case& c, const RowStats& rows, const Tensor& sums, const Expected& e, Check& check) {
  if (!e.row.sees_any) {
    check(at(rows.m, e) == kHidden ? 1 : 0, 1, 0, Place{"m of -inf", e});
    check(at(rows.l, e), 0, 0, Place{"l", e});
  } else if (std::holds_alternative<Softmax>(c.spec.normaliser)) {
    const double expected = e.row.m * std::log(2.0) + std::log(e.row.l);
    check(at(sums, e), expected, tolerance::log_sum_exp(e.row.largest, expected), Place{"log-sum-exp", e});
  } else if (reference::has_threshold(c.spec.normaliser)) {
    check(at(rows.m, e), e.row.m, e.bounds.m, Place{"m", e});
    check(at(sums, e), e.row.threshold, e.bounds.threshold, Place{"threshold", e});
  } else {
    check(at(rows.m, e), e.row.m, e.bounds.m, Place{"m", e});
    check(at(rows.l, e), e.row.l, e.bounds.l, Place{"l", e});
  }
}

void check_row(const Expected& e, const float* weights, const float* or_nan, const float* scores, Check& check) {
  double sum = 0;
  for (size_t j = 0; j < e.row.weights.size(); ++j) {
    const double p = e.row.weights[j], score = static_cast<double>(scores[j]) * std::log(2.0);
    const int64_t key = static_cast<int64_t>(j);
    sum += static_cast<double>(weights[j]);
    if (e.row.scores[j] == kHidden) {
      const bool says_so = weights[j] == 0 && std::isnan(or_nan[j]) && std::isinf(scores[j]) && scores[j] < 0;
      check(says_so ? 1 : 0, 1, 0, Place{"hidden weight, NaN and score", e, key});
      continue;
    }
    check(static_cast<double>(weights[j]), p, e.bounds.weights[j], Place{"weight", e, key});
    check(score, e.row.scores[j], e.bounds.score + 1e-37, Place{"score", e, key});
    check(static_cast<double>(or_nan[j]), static_cast<double>(weights[j]), 0, Place{"weight or NaN", e, key});
  }
  check(sum, e.row.row_sum, e.bounds.row_sum, Place{"row sum", e});
}

double largest_of(const Tensor& tensor) {
  if (tensor.numel() == 0) return 0;
  const Tensor wide = to_f32(tensor);
  return largest_magnitude(wide.data<float>(), wide.numel());
}

// The absolute loss of f16 below its normal numbers: 2⁻²⁵ for each gradient, and 2⁻²⁵ for each small out_ic that enters D_i = Σ_c
// dO_ic·out_ic. D_i is multiplied by weights of at most one and by scale·k or scale·q, and is summed over queries.
double smallest_gradient(const Case& c, const Tensor& out, const Tensor& d_out) {
  if (out.dtype() != DType::kF16 || out.numel() == 0) return 0;
  const Tensor values = to_f32(out), upstream = to_f32(d_out);
  double mean = 0;
  for (int64_t row = 0; row < values.numel() / values.size(3); ++row) {
    double sum = 0;
    for (int64_t i = row * values.size(3); i < (row + 1) * values.size(3); ++i) {
      if (std::abs(values.data<float>()[i]) < 0x1p-14f) sum += std::abs(static_cast<double>(upstream.data<float>()[i]));
    }
    mean = std::max(mean, 0x1p-25 * sum);
  }
  return 0x1p-25 + mean * std::max(1.0, std::max(largest_of(c.q), largest_of(c.k))) * static_cast<double>(c.shape.queries * c.shape.heads);
}

// `relative` is relative to the sum of the magnitudes of a gradient's summands; `smallest` is absolute.
struct GradientBound {
  double relative = 0, smallest = 0;
  bool is_gaussian = false;  // small values come from an exponent that is known to a few ε of itself (tolerance::after)
};

void check_gradient(const std::string& what, const Tensor& found, const std::vector<reference::Sum>& expected, const GradientBound& bound,
                    Check& check) {
  check(static_cast<double>(found.numel()), static_cast<double>(expected.size()), 0, [&] { return "number of elements of " + what; });
  if (check.failed()) return;
  const Tensor wide = to_f32(found);
  for (size_t i = 0; i < expected.size(); ++i) {
    const double value = static_cast<double>(wide.data<float>()[i]);
    if (std::isinf(value) && found.dtype() == DType::kF16 && std::abs(expected[i].value) * (1 + bound.relative) >= 65504) continue;
    const double size = expected[i].size, of_exponent = bound.is_gaussian && size > 0 && size < 1 ? tolerance::after(size) : 0;
    check(value, expected[i].value, (bound.relative + of_exponent) * size + tolerance::kUnderflow + bound.smallest,
          [&] { return format("{} element {}", what, i); });
  }
}

}  // namespace

void Check::note(double found, double wanted, double bound, const std::string& place) {
  what_ = format("{}: {}, the oracle has {}, off by {} where {} is allowed", place, found, wanted, std::abs(found - wanted), bound);
}

std::vector<Expected> expected_rows(const Case& c, int64_t most) {
  return expected_among(c, 0, c.shape.batch * c.shape.heads * c.shape.queries, most);
}

std::vector<Expected> expected_of_last_head(const Case& c, int64_t most) {
  return expected_among(c, (c.shape.batch * c.shape.heads - 1) * c.shape.queries, c.shape.queries, most);
}

void check_forward(const Backend& backend, const Case& c, const Result& result, const std::vector<Expected>& expected, Check& check) {
  const RowStats& rows = result.record.rows;
  const bool is_sparse = reference::has_threshold(c.spec.normaliser);
  const Tensor sums = is_sparse ? thresholds(rows, c.spec.normaliser) : log_sum_exp(rows), out = to_f32(result.out);
  const bool in_bf16 = keeps_weights_in_bf16(backend, c);
  for (const Expected& e : expected) {
    const float* row = out.data<float>() + ((e.batch * c.shape.heads + e.head) * c.shape.queries + e.query) * c.shape.d_v;
    for (int64_t channel = 0; channel < c.shape.d_v; ++channel) {
      const size_t ch = static_cast<size_t>(channel);
      double rounding = tolerance::rounding(result.out.dtype(), static_cast<double>(row[channel]));
      if (in_bf16) rounding += tolerance::kForwardBF16 * (e.row.absolute[ch] + std::abs(e.row.out[ch]));
      check(static_cast<double>(row[channel]), e.row.out[ch], e.bounds.out[ch] + rounding, Place{"out", e, channel});
    }
    check_row_kept(c, rows, sums, e, check);
  }
}

void check_weights(const Backend& backend, const AttentionRecord& record, const std::vector<Expected>& expected, Check& check) {
  const Range all{0, key_length(record.keys)};
  for (size_t begin = 0, end = 0; begin < expected.size(); begin = end) {  // all rows of one head at a time
    const int64_t batch = expected[begin].batch, head = expected[begin].head;
    std::vector<int64_t> rows;
    for (; end < expected.size() && expected[end].batch == batch && expected[end].head == head; ++end) rows.push_back(expected[end].query);
    const auto weights = look(backend, record, batch, head, rows, all);
    const auto or_nan = look(backend, record, batch, head, rows, all, WeightsCall::Quantity::kWeightOrNaN);
    const auto scores = look(backend, record, batch, head, rows, all, WeightsCall::Quantity::kScore2);
    for (size_t r = 0; r < rows.size(); ++r) {
      const size_t first = r * static_cast<size_t>(all.size());
      check_row(expected[begin + r], weights.data() + first, or_nan.data() + first, scores.data() + first, check);
    }
  }
}

AfterCount check_after(const Backend& backend, const AttentionRecord& record, const std::vector<Expected>& expected, Check& check) {
  AfterCount count;
  for (const Expected& e : expected) {
    const Range all{0, key_length(record.keys)};
    const auto before = look(backend, record, e.batch, e.head, {e.query}, all);
    const auto after = look(backend, record, e.batch, e.head, {e.query}, all, WeightsCall::Quantity::kWeight, true);
    for (size_t j = 0; j < before.size(); ++j) {
      const double factor = e.row.after[j], wanted = static_cast<double>(before[j]) * factor;
      if (e.row.scores[j] == kHidden) continue;
      check(static_cast<double>(after[j]), wanted, std::abs(wanted) * tolerance::after(factor) + tolerance::kUnderflow,
            Place{"weight after", e, static_cast<int64_t>(j)});
      count.dropped += before[j] > 0 && after[j] == 0;
      ++count.compared;
    }
  }
  return count;
}

Tensor upstream_of(const Case& c, uint32_t seed) {
  Random random(seed);
  const AttentionShape& s = c.shape;
  return to_dtype(normal(random, {s.batch, s.queries, s.heads, s.d_v}), c.q.dtype()).permute({0, 2, 1, 3});
}

Tensor upstream_of_log_sum_exp(const Case& c, const Tensor& d_out) {
  if (!std::holds_alternative<Softmax>(c.spec.normaliser) || d_out.size(3) == 0) return {};
  return to_f32(d_out).select(3, d_out.size(3) - 1);
}

reference::Gradients expected_gradients(const Case& c, const Tensor& d_out) {
  const AttentionRecord record{.spec = c.spec, .q = c.q, .keys = c.keys, .query_length = c.shape.queries};
  return reference::gradients(record, c.v, d_out, /*exact=*/true, upstream_of_log_sum_exp(c, d_out));
}

void check_gradients(const Backend& backend, const Case& c, const Tensor& d_out, const reference::Gradients& expected, Check& check) {
  const Result forward = run(backend, c);
  const AttendGradients found = run_backward(backend, forward, c.v, {d_out, upstream_of_log_sum_exp(c, d_out)});
  const double pairs = static_cast<double>(c.shape.batch * c.shape.heads * c.shape.queries * c.shape.keys);  // no element has more summands
  GradientBound bound{.relative = tolerance::gradient(expected.largest, c.q.dtype()),
                      .smallest = smallest_gradient(c, forward.out, d_out) + pairs * tolerance::kSubnormal,
                      .is_gaussian = c.spec.after.gaussian.has_value()};
  if (keeps_weights_in_bf16(backend, c)) bound.relative += 2 * tolerance::kForwardBF16;
  if (keeps_gradients_in_bf16(backend, c)) bound.relative += tolerance::kGradientBF16;
  check_gradient("d_q", found.q, expected.q, bound, check);
  check_gradient("d_k", found.k, expected.k, bound, check);
  check_gradient("d_v", found.v, expected.v, bound, check);
  size_t next = 0;
  for_each_operand(c.spec, [&](const std::string& name, const Tensor&) {
    const Tensor& gradient = found.operands[next];
    if (gradient.defined()) check_gradient("d_" + name, gradient, expected.operands.all()[next], bound, check);
    ++next;
  });
}

}  // namespace clearhead::conformance
