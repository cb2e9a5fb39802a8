// Runs f32 kernels on 16-bit operands: operands are widened once per call, and results are rounded once at the end.
//
//   q, keys, v, out, d_out in bf16 or f16 → f32, exactly → kernel → out, d_q, d_k, d_v → 16 bits, to nearest even
//
// Every table uses this step, so its kernels see f32, except for operands that the table's dispatch leaves unchanged.
// Cost and memory are O(length·d). Recomputing weights of some rows and keys widens only those. The caller's record
// keeps the original operands.
#pragma once

#include <algorithm>

#include "backends/backend.h"
#include "tensor/convert.h"

namespace clearhead {

inline bool is_wide(const Tensor& tensor) { return !tensor.defined() || tensor.dtype() == DType::kF32; }

/// Returns `tensor` unchanged if it is f32 or undefined.
inline Tensor widened(const Tensor& tensor) { return is_wide(tensor) ? tensor : to_f32(tensor); }

/// A paged cache is returned unchanged: kernels read its dtype directly.
inline Keys widened(const Keys& keys) {
  const Tensor* k = std::get_if<Tensor>(&keys);
  return k && !is_wide(*k) ? Keys(to_f32(*k)) : keys;
}

inline bool is_wide(const AttentionRecord& record) {
  const Tensor* k = std::get_if<Tensor>(&record.keys);
  return is_wide(record.q) && (!k || is_wide(*k));
}

/// The result is for use within one call only: its stamp does not match its widened operands.
inline AttentionRecord widened(const AttentionRecord& record) {
  AttentionRecord wide = record;
  wide.q = widened(record.q);
  wide.keys = widened(record.keys);
  return wide;
}

/// A result that a kernel writes in f32; finish() converts it to the dtype of `wanted`.
class WideResult {
 public:
  explicit WideResult(Tensor& wanted) : wanted_(wanted), wide_(is_wide(wanted) ? wanted : Tensor::empty(wanted.shape())) {}
  Tensor& tensor() { return is_wide(wanted_) ? wanted_ : wide_; }
  void finish() {
    if (!is_wide(wanted_)) convert(wide_, wanted_);
  }

 private:
  Tensor& wanted_;
  Tensor wide_;
};

/// Runs kernel(call) in f32: widens the operands and rounds out.
template <class F>
void forward_widened(const ForwardCall& call, F&& kernel) {
  const Tensor q = widened(call.q), v = widened(call.v);
  const Keys keys = widened(call.keys);
  WideResult out(call.out);
  // A structured binding of all fields: a new field does not compile until it is passed on here.
  const auto& [spec, _q, _keys, _v, _out, rows, entropies, distances] = call;
  kernel(ForwardCall{spec, q, keys, v, out.tensor(), rows, entropies, distances});
  out.finish();
}

/// The same for values and out only: for kernels that take q and keys in 16 bits.
template <class F>
void forward_with_wide_values(const ForwardCall& call, F&& kernel) {
  const Tensor v = widened(call.v);
  WideResult out(call.out);
  const auto& [spec, q, keys, _v, _out, rows, entropies, distances] = call;
  kernel(ForwardCall{spec, q, keys, v, out.tensor(), rows, entropies, distances});
  out.finish();
}

/// Runs kernel(call) in f32, or with `as_given` on the operands in their own dtype. In both cases the kernel writes
/// f32 gradients, which are rounded here.
template <class F>
void backward_widened(const BackwardCall& call, bool as_given, F&& kernel) {
  const auto given = [&](const auto& operand) { return as_given ? operand : widened(operand); };
  const AttentionRecord record = given(call.record);
  const Tensor v = given(call.v), out = given(call.out), d_out = given(call.d_out);
  WideResult d_q(call.d_q), d_k(call.d_k), d_v(call.d_v);
  kernel(BackwardCall{.record = record,
                      .v = v,
                      .out = out,
                      .d_out = d_out,
                      .d_log_sum_exp = call.d_log_sum_exp,
                      .d_q = d_q.tensor(),
                      .d_k = d_k.tensor(),
                      .d_v = d_v.tensor(),
                      .d_operands = call.d_operands});
  for (WideResult* result : {&d_q, &d_k, &d_v}) result->finish();
}

/// Returns an f32 tensor with the shape of `tensor`, [batch, head, length, d]. Its memory is one head's, broadcast over
/// batch and head. Only `positions` are set, with the elements of (batch, head).
inline Tensor partly_widened(const Tensor& tensor, int64_t batch, int64_t head, Range positions) {
  Tensor wide = Tensor::empty({1, 1, tensor.size(2), tensor.size(3)});
  Tensor part = wide.slice(2, positions.begin, positions.end);
  convert(tensor.slice(0, batch, batch + 1).slice(1, head, head + 1).slice(2, positions.begin, positions.end), part);
  return wide.expand({tensor.size(0), tensor.size(1), tensor.size(2), tensor.size(3)});
}

/// Runs kernel(call) in f32.
template <class F>
void weights_widened(const WeightsCall& call, F&& kernel) {
  const AttentionRecord& given = call.record;
  if (is_wide(given) || call.row_count <= 0 || call.keys.size() <= 0) return kernel(call);
  AttentionRecord record = given;
  record.q = partly_widened(given.q, call.batch, call.head, {call.rows[0], call.rows[call.row_count - 1] + 1});
  if (const Tensor* k = std::get_if<Tensor>(&given.keys)) {
    constexpr int64_t kAround = KVPage::kLength;  // multiples of this: kernels read keys in groups
    const Range keys{call.keys.begin / kAround * kAround, std::min(k->size(2), (call.keys.end + kAround - 1) / kAround * kAround)};
    record.keys = partly_widened(*k, call.batch, call.head / (given.q.size(1) / k->size(1)), keys);
  }
  // A structured binding of all fields: a new field does not compile until it is passed on here.
  const auto& [_, batch, head, rows, row_count, keys, quantity, after, precision, out, out_stride] = call;
  kernel(WeightsCall{record, batch, head, rows, row_count, keys, quantity, after, precision, out, out_stride});
}

/// Runs kernel(call) in f32.
template <class F>
ReductionResult sweep_widened(const SweepCall& call, F&& kernel) {
  if (is_wide(call.record)) return kernel(call);
  const AttentionRecord record = widened(call.record);
  const auto& [_, request, rows, grid, row_factors, key_factors, batches, after, precision, cancel, progress] = call;
  return kernel(SweepCall{record, request, rows, grid, row_factors, key_factors, batches, after, precision, cancel, progress});
}

}  // namespace clearhead
