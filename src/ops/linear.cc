// y = x·Wᵀ + b, and back:  d_x += d_y·W,  d_W += d_yᵀ·x,  d_b += Σ_r d_y.  Where gradients are recorded, f(y) is an op of its own.
#include "backends/registry.h"
#include "base/format.h"
#include "ops/ops.h"

namespace clearhead::ops {
namespace {

MatrixView rows_of(const Tensor& t) { return {t.data<float>(), t.stride(0), 1}; }

void multiply(const MatrixView& a, const MatrixView& b, int64_t inner, const Gradients::Place& to) {
  Tensor out = to.gradient;
  backend().dense.product({.a = a,
                           .b = b,
                           .rows = out.size(0),
                           .inner = inner,
                           .columns = out.size(1),
                           .accumulate = to.accumulate,
                           .out = out.mutable_data<float>(),
                           .out_stride = out.stride(0)});
}

// values: of a live weight; undefined for a prepared one.
void compute(const Tensor& x, const PreparedWeight& weight, const Tensor& values, const Tensor& bias, Tensor& out,
             const LinearOptions& options) {
  const float* of_bias = bias.defined() ? bias.data<float>() : nullptr;
  if (values.defined()) {
    return backend().dense.product({.a = rows_of(x),
                                    .b = rows_of(values).transposed(),
                                    .rows = x.size(0),
                                    .inner = weight.in,
                                    .columns = weight.out,
                                    .bias = of_bias,
                                    .activation = options.activation,
                                    .accumulate = options.accumulate,
                                    .out = out.mutable_data<float>(),
                                    .out_stride = out.stride(0)});
  }
  backend().dense.linear({weight, x.data<float>(), x.size(0), x.stride(0), of_bias, options.activation, options.accumulate,
                          out.mutable_data<float>(), out.stride(0)});
}

void reverse(Gradients& gradients, const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& out) {
  const Tensor d_out = gradients.of(out);
  const MatrixView d = rows_of(d_out);
  if (gradients.wants(weight)) multiply(d.transposed(), rows_of(x), x.size(0), gradients.place(weight));
  if (gradients.wants(x)) multiply(d, rows_of(weight), weight.size(0), gradients.place(x));
  if (bias.defined() && gradients.wants(bias)) {
    Tensor sums = gradients.of(bias);
    backend().gradients.column_sums({d_out.data<float>(), d_out.size(0), d_out.size(1), d_out.stride(0), sums.mutable_data<float>()});
  }
}

}  // namespace

void linear(Run& run, const Tensor& x, const PreparedWeight& weight, const Tensor& bias, Tensor& out, const LinearOptions& options) {
  const bool fits = x.rank() == 2 && out.rank() == 2 && x.size(1) == weight.in && out.size(1) == weight.out && x.size(0) == out.size(0) &&
                    x.stride(1) == 1 && out.stride(1) == 1;
  if (!fits || (bias.defined() && bias.numel() != weight.out)) {
    fail(ErrorCode::kShape, "linear: x is {}, out {}, the weight [{}, {}], the bias {}", to_string(x.shape()), to_string(out.shape()),
         weight.out, weight.in, to_string(bias.shape()));
  }
  const auto* live = dynamic_cast<const LiveWeight*>(&weight);
  const Tensor values = live ? live->values : Tensor();
  if (!run.records({&x, &values, &bias})) return compute(x, weight, values, bias, out, options);
  if (!live) fail(ErrorCode::kUnsupported, "linear: gradients are asked for through a prepared weight; expected a live one");
  if (options.activation != Activation::kNone) {
    Tensor before = run.recorder->take(out.shape()), after = options.accumulate ? run.recorder->take(out.shape()) : out;
    linear(run, x, weight, bias, before);
    activate(run, options.activation, before, after);
    if (options.accumulate) add(run, after, out);
    return;
  }
  compute(x, weight, values, bias, out, options);
  run.recorder->record("linear", out, {x, values}, [=](Gradients& gradients) { reverse(gradients, x, values, bias, out); });
}

}  // namespace clearhead::ops
