// y = norm(x)·w + b. Its gradient is computed from x̂ and the scale of each row (backends/dense_gradients.h).
#include "backends/registry.h"
#include "base/format.h"
#include "ops/ops.h"

namespace clearhead::ops {

void norm(Run& run, const Tensor& x, const Normalisation& normalisation, Tensor& out) {
  const Tensor &weight = normalisation.weight, &bias = normalisation.bias;
  const bool fits = x.rank() == 2 && x.is_contiguous() && out.is_contiguous() && x.shape() == out.shape() && weight.numel() == x.size(1) &&
                    (!bias.defined() || bias.numel() == x.size(1));
  if (!fits) {
    fail(ErrorCode::kShape,
         "norm: x is {}, out {}, weight {}, bias {}; expected contiguous x and out [rows, width], weight and bias [width]",
         to_string(x.shape()), to_string(out.shape()), to_string(weight.shape()), to_string(bias.shape()));
  }
  NormCall call{normalisation.rms,
                normalisation.epsilon,
                weight.data<float>(),
                bias.defined() ? bias.data<float>() : nullptr,
                x.data<float>(),
                out.mutable_data<float>(),
                x.size(0),
                x.size(1)};
  if (!run.records({&x, &weight, &bias})) return backend().dense.norm(call);
  Tensor normalised = run.recorder->take(x.shape()), scales = run.recorder->take({x.size(0)});
  call.normalised = normalised.mutable_data<float>();
  call.scales = scales.mutable_data<float>();
  const bool in_place = x.shares_storage_with(out);
  backend().dense.norm(call);
  run.recorder->record("norm", out, {normalised, scales, weight},
                       [=, x = shadow_of(x), out = shadow_of(out), rms = normalisation.rms](Gradients& gradients) {
                         Tensor d_out = gradients.of(out);
                         NormGradientCall back{.rms = rms,
                                               .weight = weight.data<float>(),
                                               .normalised = normalised.data<float>(),
                                               .scales = scales.data<float>(),
                                               .d_out = d_out.data<float>(),
                                               .rows = x.size(0),
                                               .width = x.size(1)};
                         if (gradients.wants(x)) {
                           Gradients::Place to = in_place ? Gradients::Place{d_out, false} : gradients.place(x);
                           back.d_x = to.gradient.mutable_data<float>();
                           back.accumulate = to.accumulate;
                         }
                         if (gradients.wants(weight)) back.d_weight = gradients.of(weight).mutable_data<float>();
                         if (bias.defined() && gradients.wants(bias)) back.d_bias = gradients.of(bias).mutable_data<float>();
                         backend().gradients.norm(back);
                       });
}

}  // namespace clearhead::ops
