#include "backends/registry.h"
#include "base/format.h"
#include "ops/ops.h"

namespace clearhead::ops {

void linear(Run&, const Tensor& x, const PreparedWeight& weight, const Tensor& bias, Tensor& out, const LinearOptions& options) {
  const bool fits = x.rank() == 2 && out.rank() == 2 && x.size(1) == weight.in && out.size(1) == weight.out && x.size(0) == out.size(0) &&
                    x.stride(1) == 1 && out.stride(1) == 1;
  if (!fits || (bias.defined() && bias.numel() != weight.out)) {
    fail(ErrorCode::kShape, "linear: x is {}, out {}, the weight [{}, {}], the bias {}", to_string(x.shape()), to_string(out.shape()),
         weight.out, weight.in, to_string(bias.shape()));
  }
  backend().dense.linear({weight, x.data<float>(), x.size(0), x.stride(0), bias.defined() ? bias.data<float>() : nullptr,
                          options.activation, options.accumulate, out.mutable_data<float>(), out.stride(0)});
}

}  // namespace clearhead::ops
