// y = x·Wᵀ + b; backward:  d_x += d_y·W,  d_W += d_yᵀ·x,  d_b += Σ_r d_y.  If gradients are recorded, the activation is a
// separate op.
//
// With bf16 operands, x, W and d_y are rounded to bf16 before the products (x and W once for both passes); sums are f32, and so
// are results, except those that linear_dtype() allows in bf16. Prepared weights use bf16 products only if stored in bf16.
#include "backends/registry.h"
#include "base/format.h"
#include "ops/ops.h"
#include "tensor/convert.h"

namespace clearhead::ops {
namespace {

MatrixView rows_of(const Tensor& t) { return {t.data<float>(), t.stride(0), 1}; }
MatrixOf<uint16_t> low_precision_rows_of(const Tensor& t) { return {reinterpret_cast<const uint16_t*>(t.raw()), t.stride(0), 1}; }

void multiply(const ProductCall& call) { backend().dense.product(call); }
void multiply(const LowPrecisionProductCall& call) { backend().dense.low_precision_product(call); }

template <class Element>
void multiply(const MatrixOf<Element>& a, const MatrixOf<Element>& b, int64_t inner, const Gradients::Place& to) {
  Tensor out = to.gradient;
  multiply(ProductOf<Element>{.a = a,
                              .b = b,
                              .rows = out.size(0),
                              .inner = inner,
                              .columns = out.size(1),
                              .accumulate = to.accumulate,
                              .out = out.mutable_data<float>(),
                              .out_stride = out.stride(0)});
}

// x in bf16, as bf16 products read it.
Tensor rounded_rows(Run& run, const Tensor& x) {
  if (x.dtype() == DType::kBF16) return x;
  Tensor rows = run.take(x.shape(), DType::kBF16);
  convert(x, rows);
  return rows;
}

// Applies a prepared weight. In a bf16 run, x may be bf16: attention and linear() can write bf16 results.
void apply(Run& run, const Tensor& x, const PreparedWeight& weight, const Tensor& bias, Tensor& out, const LinearOptions& options) {
  const bool is_low_precision = run.operands == DType::kBF16 && weight.storage == WeightStorage::kBF16,
             rounds = out.dtype() == DType::kBF16;
  const Tensor rows = is_low_precision ? rounded_rows(run, x) : widened(run, x);
  backend().dense.linear({.weight = weight,
                          .x = is_low_precision ? nullptr : rows.data<float>(),
                          .rows = rows.size(0),
                          .x_stride = rows.stride(0),
                          .bias = bias.defined() ? bias.data<float>() : nullptr,
                          .activation = options.activation,
                          .accumulate = options.accumulate,
                          .out = rounds ? nullptr : out.mutable_data<float>(),
                          .out_stride = out.stride(0),
                          .low_precision_x = is_low_precision ? low_precision_rows_of(rows).data : nullptr,
                          .low_precision_out = rounds ? reinterpret_cast<uint16_t*>(out.mutable_raw()) : nullptr});
}

// out = f(x·Wᵀ + bias) for a LiveWeight; values: W, [out, in], in the dtype that the product reads.
template <class Element>
void multiply(const MatrixOf<Element>& x, const MatrixOf<Element>& values, int64_t inner, const Tensor& bias, Tensor& out,
              const LinearOptions& options) {
  multiply(ProductOf<Element>{.a = x,
                              .b = values.transposed(),
                              .rows = out.size(0),
                              .inner = inner,
                              .columns = out.size(1),
                              .bias = bias.defined() ? bias.data<float>() : nullptr,
                              .activation = options.activation,
                              .accumulate = options.accumulate,
                              .out = out.mutable_data<float>(),
                              .out_stride = out.stride(0)});
}

// d, rows and weights: d_out, x and the weight in the dtype that the products read.
template <class Element>
void reverse_products(Gradients& gradients, const MatrixOf<Element>& d, const MatrixOf<Element>& rows, const MatrixOf<Element>& weights,
                      const Tensor& x, const Tensor& weight) {
  if (gradients.wants(weight)) multiply(d.transposed(), rows, x.size(0), gradients.place(weight));
  if (gradients.wants(x)) multiply(d, weights, weight.size(0), gradients.place(x));
}

void reverse_bias(Gradients& gradients, const Tensor& d_out, const Tensor& bias) {
  if (!bias.defined() || !gradients.wants(bias)) return;
  Tensor sums = gradients.of(bias);
  backend().gradients.column_sums({d_out.data<float>(), d_out.size(0), d_out.size(1), d_out.stride(0), sums.mutable_data<float>()});
}

void low_precision_linear(Run& run, const Tensor& x, const LiveWeight& weight, const Tensor& bias, Tensor& out,
                          const LinearOptions& options) {
  const Tensor values = weight.rounded();
  const Tensor rows = rounded_rows(run, x);
  multiply(low_precision_rows_of(rows), low_precision_rows_of(values), weight.in, bias, out, options);
  if (!run.records({&x, &weight.values, &bias})) return;
  const auto reverse = [=, recorder = run.recorder, x = shadow_of(x), leaf = shadow_of(weight.values),
                        out = shadow_of(out)](Gradients& gradients) {
    const Tensor d_out = gradients.of(out);
    Tensor d = recorder->take(d_out.shape(), DType::kBF16);
    convert(d_out, d);
    reverse_products(gradients, low_precision_rows_of(d), low_precision_rows_of(rows), low_precision_rows_of(values), x, leaf);
    reverse_bias(gradients, d_out, bias);
  };
  run.recorder->record("linear", out, {rows, values}, reverse);
}

}  // namespace

DType linear_dtype(const Run& run, const PreparedWeight& weight) {
  const bool is_prepared = dynamic_cast<const LiveWeight*>(&weight) == nullptr;
  return is_prepared && !run.recorder && weight.storage == WeightStorage::kBF16 ? run.operands : DType::kF32;
}

void linear(Run& run, const Tensor& x, const PreparedWeight& weight, const Tensor& bias, Tensor& out, const LinearOptions& options) {
  const bool fits = x.rank() == 2 && out.rank() == 2 && x.size(1) == weight.in && out.size(1) == weight.out && x.size(0) == out.size(0) &&
                    x.stride(1) == 1 && out.stride(1) == 1;
  if (!fits || (bias.defined() && bias.numel() != weight.out)) {
    fail(ErrorCode::kShape, "linear: x is {}, out {}, the weight [{}, {}], the bias {}; expected [rows, in], [rows, out], [out, in], [out]",
         to_string(x.shape()), to_string(out.shape()), weight.out, weight.in, to_string(bias.shape()));
  }
  if (out.dtype() == DType::kBF16 && (linear_dtype(run, weight) != DType::kBF16 || options.accumulate))
    fail(ErrorCode::kUnsupported,
         "linear: out is bf16; expected f32, or a run in bf16 with a prepared bf16 weight, without gradients and without accumulation");
  const auto* live = dynamic_cast<const LiveWeight*>(&weight);
  const Tensor values = live ? live->values : Tensor();
  const bool is_recorded = run.records({&x, &values, &bias}), is_low_precision = run.operands == DType::kBF16;
  if (!live && is_recorded)
    fail(ErrorCode::kUnsupported, "linear: gradients cannot pass through a prepared weight; load the model with LoadOptions::gradients");
  if (!live) return apply(run, x, weight, bias, out, options);
  if (!is_recorded && !is_low_precision) return multiply(rows_of(x), rows_of(values), weight.in, bias, out, options);
  if (is_recorded && options.activation != Activation::kNone) {
    Tensor before = run.recorder->take(out.shape()), after = options.accumulate ? run.recorder->take(out.shape()) : out;
    linear(run, x, weight, bias, before);
    activate(run, options.activation, before, after);
    if (options.accumulate) add(run, after, out);
    return;
  }
  if (is_low_precision) return low_precision_linear(run, x, *live, bias, out, options);
  multiply(rows_of(x), rows_of(values), weight.in, bias, out, options);
  run.recorder->record("linear", out, {x, values}, [=, out = shadow_of(out)](Gradients& gradients) {
    const Tensor d_out = gradients.of(out);
    reverse_products(gradients, rows_of(d_out), rows_of(x), rows_of(values), x, values);
    reverse_bias(gradients, d_out, bias);
  });
}

}  // namespace clearhead::ops
