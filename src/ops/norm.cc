#include "backends/registry.h"
#include "base/format.h"
#include "ops/ops.h"

namespace clearhead::ops {

void norm(Run&, const Tensor& x, const Normalisation& normalisation, Tensor& out) {
  const bool fits = x.rank() == 2 && x.is_contiguous() && out.is_contiguous() && x.shape() == out.shape() &&
                    normalisation.weight.numel() == x.size(1) && (!normalisation.bias.defined() || normalisation.bias.numel() == x.size(1));
  if (!fits) {
    fail(ErrorCode::kShape, "norm: x is {}, out {}, the weight {}", to_string(x.shape()), to_string(out.shape()),
         to_string(normalisation.weight.shape()));
  }
  const float* bias = normalisation.bias.defined() ? normalisation.bias.data<float>() : nullptr;
  backend().dense.norm({normalisation.rms, normalisation.epsilon, normalisation.weight.data<float>(), bias, x.data<float>(),
                        out.mutable_data<float>(), x.size(0), x.size(1)});
}

}  // namespace clearhead::ops
