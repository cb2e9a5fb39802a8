// Elementwise ops with their gradients: f(x), f(gate) ⊙ up, sums, copies, conversion between dtypes, and dropout.
#include "backends/registry.h"
#include "base/format.h"
#include "ops/ops.h"
#include "tensor/convert.h"

namespace clearhead::ops {
namespace {

void check_alike(const char* op, const Tensor& x, const Tensor& out) {
  if (x.shape() != out.shape() || !x.is_contiguous() || !out.is_contiguous()) {
    fail(ErrorCode::kShape, "{}: x is {}, out {}; expected contiguous tensors of the same shape", op, to_string(x.shape()),
         to_string(out.shape()));
  }
}

}  // namespace

void activate(Run& run, Activation activation, const Tensor& x, Tensor& out) {
  check_alike("activation", x, out);
  add_strided(x, out, false);
  backend().dense.activate(activation, out.mutable_data<float>(), out.numel());
  if (!run.records({&x})) return;
  run.recorder->record("activation", out, {x}, [=, out = shadow_of(out)](Gradients& gradients) {
    const Tensor d_out = gradients.of(out);
    Gradients::Place to = gradients.place(x);
    backend().gradients.activation(
        {activation, x.data<float>(), d_out.data<float>(), to.gradient.mutable_data<float>(), x.numel(), to.accumulate});
  });
}

void gated(Run& run, Activation activation, const Tensor& x, Tensor& out) {
  const bool fits = x.rank() == 2 && out.rank() == 2 && x.is_contiguous() && out.is_contiguous() && x.size(0) == out.size(0) &&
                    x.size(1) == 2 * out.size(1);
  if (!fits)
    fail(ErrorCode::kShape, "gated: x is {}, out {}; expected contiguous [rows, 2·width] and [rows, width]", to_string(x.shape()),
         to_string(out.shape()));
  backend().dense.gated({activation, x.data<float>(), out.mutable_data<float>(), out.size(0), out.size(1)});
  if (!run.records({&x})) return;
  run.recorder->record("gated", out, {x}, [=, out = shadow_of(out)](Gradients& gradients) {
    const Tensor d_out = gradients.of(out);
    Gradients::Place to = gradients.place(x);
    backend().gradients.gated(
        {activation, x.data<float>(), d_out.data<float>(), to.gradient.mutable_data<float>(), out.size(0), out.size(1), to.accumulate});
  });
}

namespace {

// Converts x to a dtype. Gradients are f32 on both sides and pass unchanged.
Tensor in_dtype(Run& run, const Tensor& x, DType dtype, const char* op) {
  if (x.dtype() == dtype) return x;
  Tensor out = run.take(x.shape(), dtype);
  convert(x, out);
  if (!run.records({&x})) return out;
  run.recorder->record(op, out, {}, [x = shadow_of(x), of_out = shadow_of(out)](Gradients& gradients) {
    Gradients::Place to = gradients.place(x);
    add_strided(gradients.of(of_out), to.gradient, to.accumulate);
  });
  return out;
}

}  // namespace

Tensor rounded(Run& run, const Tensor& x) { return in_dtype(run, x, run.operands, "round"); }

Tensor widened(Run& run, const Tensor& x) { return in_dtype(run, x, DType::kF32, "widen"); }

namespace {

void record_sum(Run& run, const Tensor& x, const Tensor& out) {
  if (!run.records({&x})) return;
  run.recorder->record("add", out, {}, [x = shadow_of(x), out = shadow_of(out)](Gradients& gradients) {
    Gradients::Place to = gradients.place(x);
    add_strided(gradients.of(out), to.gradient, to.accumulate);
  });
}

}  // namespace

void add(Run& run, const Tensor& x, Tensor& out) {
  add_strided(x, out, true);
  record_sum(run, x, out);
}

void copy(Run& run, const Tensor& x, Tensor& out) {
  add_strided(x, out, false);
  record_sum(run, x, out);
}

void dropout(Run& run, const Tensor& x, const DropoutOptions& dropping, Tensor& out) {
  check_alike("dropout", x, out);
  if (!(dropping.rate >= 0 && dropping.rate < 1))
    fail(ErrorCode::kInvalidArgument, "dropout: rate {}; expected 0 ≤ rate < 1", dropping.rate);
  const bool in_place = x.shares_storage_with(out);
  if (in_place && dropping.accumulate) fail(ErrorCode::kInvalidArgument, "dropout: a tensor cannot be added to itself in place");
  const auto drop = [dropping](const Tensor& from, Tensor& to, bool accumulate) {
    backend().gradients.dropout({from.data<float>(), to.mutable_data<float>(), from.numel(), dropping.rate, dropping.seed, accumulate});
  };
  drop(x, out, dropping.accumulate);
  if (!run.records({&x})) return;
  run.recorder->record("dropout", out, {}, [=, x = shadow_of(x), out = shadow_of(out)](Gradients& gradients) {
    Tensor d_out = gradients.of(out);
    Gradients::Place to = in_place ? Gradients::Place{d_out, false} : gradients.place(x);
    drop(d_out, to.gradient, to.accumulate);
  });
}

}  // namespace clearhead::ops
