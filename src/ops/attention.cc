// Attention inside a model: the fused call, and its report to the observer.
//
// The report includes ‖v·W‖, the norm of each value after the output projection W of its head (Kobayashi et al. 2020, eq. 5):
//   ‖v·W‖² = v·(W·Wᵀ)·vᵀ = ‖v·L‖² with W·Wᵀ = L·Lᵀ      so the d_v × d_v matrix L of a head replaces W
#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "backends/registry.h"
#include "base/format.h"
#include "base/parallel.h"
#include "ops/attend_into.h"
#include "ops/ops.h"
#include "spec/names.h"
#include "tensor/convert.h"

namespace clearhead::ops {
namespace {

// Rounding error of a pivot relative to the diagonal. A row with a smaller pivot is treated as linearly dependent.
constexpr double kSmallestPivot = 1e-14;

// The Cholesky factor L with L·Lᵀ = G, [width, width], of a symmetric positive semidefinite G. Columns of dependent rows are 0.
// Overwrites `gram`.
void factor(std::vector<double>& gram, int64_t width, float* to) {
  const auto at = [&](int64_t row, int64_t column) -> double& { return gram[static_cast<size_t>(row * width + column)]; };
  for (int64_t column = 0; column < width; ++column) {
    const double diagonal = at(column, column);
    for (int64_t row = column; row < width; ++row) {
      for (int64_t c = 0; c < column; ++c) at(row, column) -= at(row, c) * at(column, c);
    }
    const double pivot = at(column, column) > kSmallestPivot * diagonal ? std::sqrt(at(column, column)) : 0;
    for (int64_t row = 0; row < width; ++row) {
      at(row, column) = row < column || pivot == 0 ? 0 : row == column ? pivot : at(row, column) / pivot;
      to[row * width + column] = static_cast<float>(at(row, column));
    }
  }
}

// The Euclidean norms of rows.   rows: [count, width], `stride` apart.
void lengths_of(const float* rows, int64_t count, int64_t width, int64_t stride, float* out) {
  parallel_ranges(count, 256, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      double square = 0;
      for (int64_t c = 0; c < width; ++c) {
        const double value = static_cast<double>(rows[row * stride + c]);
        square += value * value;
      }
      out[row] = static_cast<float>(std::sqrt(square));
    }
  });
}

}  // namespace

KeyNorms key_norms(const Tensor& v, const Tensor& output) {
  const int64_t batch = v.size(0), key_heads = v.size(1), keys = v.size(2), width = v.size(3);
  KeyNorms norms;
  norms.value = Tensor::empty({batch, key_heads, keys});
  float* of_value = norms.value.mutable_data<float>();
  const int64_t heads = output.defined() ? output.size(0) : 0, group = heads / key_heads, columns = heads > 0 ? output.size(2) : 0;
  if (heads > 0) norms.output = Tensor::empty({batch, heads, keys});
  float* of_output = heads > 0 ? norms.output.mutable_data<float>() : nullptr;
  const Tensor values = v.stride(3) == 1 ? v : v.contiguous();
  Tensor product = Tensor::empty({heads > 0 ? keys : 0, columns});
  float* to = product.mutable_data<float>();
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t head = 0; head < key_heads; ++head) {
      const float* from = values.data<float>() + b * values.stride(0) + head * values.stride(1);
      lengths_of(from, keys, width, values.stride(2), of_value + (b * key_heads + head) * keys);
      for (int64_t h = head * group; h < (head + 1) * group; ++h) {
        backend().dense.product({.a = {from, values.stride(2), 1},
                                 .b = {output.data<float>() + h * width * columns, columns, 1},
                                 .rows = keys,
                                 .inner = width,
                                 .columns = columns,
                                 .out = to,
                                 .out_stride = columns});
        lengths_of(to, keys, columns, columns, of_output + (b * heads + h) * keys);
      }
    }
  }
  return norms;
}

// Reads the projection by applying it: with unit vectors as inputs, the outputs are its columns.
Tensor output_factor(Run& run, const PreparedWeight& output, int64_t heads, int64_t d_v) {
  const Arena::Scope scope(run.arena);
  Run unrecorded{.arena = run.arena, .operands = run.operands};
  const int64_t width = output.out;
  Tensor unit = run.arena.take({d_v, heads * d_v}), columns = run.arena.take({d_v, width});
  Tensor factors = Tensor::empty({heads, d_v, d_v});
  std::vector<double> gram(static_cast<size_t>(d_v * d_v));
  for (int64_t head = 0; head < heads; ++head) {
    float* ones = unit.mutable_data<float>();
    std::fill(ones, ones + unit.numel(), 0.0F);
    for (int64_t c = 0; c < d_v; ++c) ones[c * heads * d_v + head * d_v + c] = 1;
    linear(unrecorded, unit, output, Tensor(), columns);
    const float* w = columns.data<float>();
    for (int64_t a = 0; a < d_v; ++a) {
      for (int64_t b = 0; b <= a; ++b) {
        double sum = 0;
        for (int64_t o = 0; o < width; ++o) sum += static_cast<double>(w[a * width + o]) * static_cast<double>(w[b * width + o]);
        gram[static_cast<size_t>(a * d_v + b)] = gram[static_cast<size_t>(b * d_v + a)] = sum;
      }
    }
    factor(gram, d_v, factors.mutable_data<float>() + head * d_v * d_v);
  }
  return factors;
}

namespace {

// Keys and values from a fused projection have a large row stride, and every block of queries reads all of them. Once they no
// longer fit the caches near a core, a contiguous copy is worth its cost (100,000 keys of 32 channels, in rows of 192 floats: 16 s
// instead of 27 s on one core).
constexpr int64_t kKeysWorthACopy = 8192;
Tensor near(const Tensor& tensor) { return tensor.size(2) >= kKeysWorthACopy ? tensor.contiguous() : tensor; }

}  // namespace

namespace {

// The backward pass of a call, from the gradients of either or both of its results.
using ReverseCall = std::function<void(Gradients&, const Tensor& d_out, const Tensor& d_log_sum_exp)>;

ReverseCall reverse_of(const AttentionCall& call, const AttentionRecord& record, const Tensor& out, Observer* gradient_observer) {
  const Tensor &q = call.q, &k = std::get<Tensor>(call.keys), &v = call.v;
  return [=, site = call.site](Gradients& gradients, const Tensor& d_out, const Tensor& d_log_sum_exp) {
    std::vector<Tensor> operands;
    std::set<std::string> wanted;
    for_each_operand(record.spec, [&](const std::string& name, const Tensor& operand) {
      operands.push_back(operand);
      if (gradients.wants(operand)) wanted.insert(name);
    });
    if (gradient_observer) gradient_observer->take_gradient(site, record, {d_out, v});
    const AttendGradients found =
        attend_gradients(record, near(v), out, {d_out.dtype() == out.dtype() ? d_out : to_dtype(d_out, out.dtype()), d_log_sum_exp},
                         [&](const std::string& name) { return wanted.count(name) > 0; });
    const auto add = [&](const Tensor& of, const Tensor& gradient) {
      if (!gradient.defined() || !gradients.wants(of)) return;
      Gradients::Place to = gradients.place(of);
      add_strided(gradient.dtype() == DType::kF32 ? gradient : to_f32(gradient), to.gradient, to.accumulate);
    };
    add(q, found.q);
    add(k, found.k);
    add(v, found.v);
    for (size_t i = 0; i < operands.size(); ++i) add(operands[i], found.operands[i]);
  };
}

// Records a call with up to two results, `out` and the log-sum-exp, as entries that share one reverse function. The log-sum-exp is
// recorded first and therefore reversed last, so its gradient still exists when the entry of `out` is reversed. If no loss reached `out`,
// the entry of the log-sum-exp reverses the call. That entry has an empty view as its result, because −∞ is a valid log-sum-exp and must
// not fail the check for finite results.
void record_attention(Run& run, const AttentionCall& call, const AttentionRecord& record, const Tensor& out, const Tensor& log_sum_exp) {
  Observer* gradient_observer =
      !call.site.family.empty() && run.observer && run.observer->wants_gradient(call.site) ? run.observer : nullptr;
  const ReverseCall reverse = reverse_of(call, record, out, gradient_observer);
  const Tensor v = call.v;
  const auto is_reversed = std::make_shared<bool>(false);
  if (log_sum_exp.defined()) {
    run.recorder->record("log_sum_exp", log_sum_exp.slice(2, 0, 0), {out, v}, [=](Gradients& gradients) {
      if (!*is_reversed) reverse(gradients, Tensor::zeros(out.shape(), out.dtype()), gradients.of(log_sum_exp));
    });
  }
  run.recorder->record("attention", out, {out, v}, [=](Gradients& gradients) {
    *is_reversed = true;
    reverse(gradients, gradients.of(out), log_sum_exp.defined() ? gradients.of(log_sum_exp) : Tensor());
  });
}

}  // namespace

namespace {

bool is_at(const Interventions::Head& head, const Site& site) {
  return head.layer == site.layer && (head.family.empty() || head.family == site.family);
}

// Replaces outputs of a head by given values.
void patch(const std::vector<Interventions::Patch>& patches, const Site& site, Tensor& out) {
  for (const Interventions::Patch& one : patches) {
    if (!is_at(one.head, site)) continue;
    const Shape expected = {one.queries.size(), out.size(3)};
    if (one.head.head < 0 || one.head.head >= out.size(1) || one.queries.begin < 0 || one.queries.end > out.size(2) ||
        one.values.shape() != expected) {
      fail(ErrorCode::kInvalidArgument, "a patch of head {} and queries [{}, {}) by {} does not fit {} heads and {} queries of width {}",
           one.head.head, one.queries.begin, one.queries.end, to_string(one.values.shape()), out.size(1), out.size(2), out.size(3));
    }
    for (int64_t batch = 0; batch < out.size(0); ++batch) {
      Tensor to = out.select(0, batch).select(0, one.head.head).slice(0, one.queries.begin, one.queries.end);
      convert(one.values, to);
    }
  }
}

}  // namespace

namespace {

// The log-sum-exp of each row if the caller or the capture asks for it, else undefined.
Tensor wanted_log_sum_exp(const AttentionCall& call, const AttentionRecord& record, bool is_captured) {
  const bool is_softmax = std::holds_alternative<Softmax>(record.spec.normaliser);
  if (!call.log_sum_exp) return is_captured && is_softmax ? clearhead::log_sum_exp(record.rows) : Tensor();
  if (!is_softmax)
    fail(ErrorCode::kUnsupported, "attention: rows of {} have no log-sum-exp; expected softmax", name_of(record.spec.normaliser));
  if (!std::holds_alternative<Tensor>(call.keys))
    fail(ErrorCode::kUnsupported, "attention: the log-sum-exp is not available for keys in pages of a cache; expected keys in a tensor");
  return *call.log_sum_exp = clearhead::log_sum_exp(record.rows);
}

}  // namespace

void attention(Run& run, const AttentionCall& call, Tensor& out) {
  const Tensor* keys = std::get_if<Tensor>(&call.keys);
  const bool is_recorded = keys && run.records({&call.q, keys, &call.v});
  const AttentionRecord record =
      keys ? attend_into(call.q, near(*keys), near(call.v), call.spec, out) : attend_into(call.q, call.keys, Tensor(), call.spec, out);
  const bool has_site = !call.site.family.empty(), is_captured = keys && has_site && run.capture && run.capture->wants(call.site);
  const Tensor log_sum_exp = wanted_log_sum_exp(call, record, is_captured);
  if (is_recorded) record_attention(run, call, record, out, log_sum_exp);
  if (is_captured) run.capture->calls.push_back({call.site, call.q, *keys, call.spec, log_sum_exp});
  if (run.patched && !run.patched->empty() && has_site) patch(*run.patched, call.site, out);
  if (run.observer && has_site && call.site.reported && !run.is_recompute && run.observer->wants_output(call.site))
    run.observer->take_output(call.site, out);
  if (call.wanted && run.observer)
    run.observer->take(call.site, record, key_norms(call.v.dtype() == DType::kF32 ? call.v : to_f32(call.v), call.output));
}

}  // namespace clearhead::ops
