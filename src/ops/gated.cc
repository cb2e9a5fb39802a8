#include "backends/registry.h"
#include "base/format.h"
#include "ops/ops.h"

namespace clearhead::ops {

void gated(Run&, Activation activation, const Tensor& x, Tensor& out) {
  const bool fits = x.rank() == 2 && out.rank() == 2 && x.is_contiguous() && out.is_contiguous() && x.size(0) == out.size(0) &&
                    x.size(1) == 2 * out.size(1);
  if (!fits) fail(ErrorCode::kShape, "gated: x is {}, out {}", to_string(x.shape()), to_string(out.shape()));
  backend().dense.gated({activation, x.data<float>(), out.mutable_data<float>(), out.size(0), out.size(1)});
}

}  // namespace clearhead::ops
