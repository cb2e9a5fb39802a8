#include "backends/registry.h"
#include "base/format.h"
#include "ops/ops.h"

namespace clearhead::ops {

void rotary(Run&, Tensor& x, const RotaryAngles& angles) {
  const bool fits = x.rank() == 3 && x.stride(2) == 1 && angles.dims <= x.size(2) && angles.cosine.shape() == angles.sine.shape() &&
                    angles.cosine.shape() == Shape{x.size(0), angles.dims / 2};
  if (!fits) fail(ErrorCode::kShape, "rotary: x is {}, the angles {}", to_string(x.shape()), to_string(angles.cosine.shape()));
  backend().dense.rotary({x.mutable_data<float>(), x.size(0), x.size(1), x.size(2), x.stride(0), x.stride(1), angles.dims,
                          angles.interleaved, angles.cosine.data<float>(), angles.sine.data<float>()});
}

}  // namespace clearhead::ops
