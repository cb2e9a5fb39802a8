// Pairs of channels turned by an angle; the gradient turns back.
#include "backends/registry.h"
#include "base/format.h"
#include "ops/ops.h"

namespace clearhead::ops {

void rotary(Run& run, Tensor& x, const RotaryAngles& angles) {
  const bool fits = x.rank() == 3 && x.stride(2) == 1 && angles.dims <= x.size(2) && angles.cosine.shape() == angles.sine.shape() &&
                    angles.cosine.shape() == Shape{x.size(0), angles.dims / 2};
  if (!fits) fail(ErrorCode::kShape, "rotary: x is {}, the angles {}", to_string(x.shape()), to_string(angles.cosine.shape()));
  const auto turn = [angles](Tensor& heads, bool inverse) {
    backend().dense.rotary({heads.mutable_data<float>(), heads.size(0), heads.size(1), heads.size(2), heads.stride(0), heads.stride(1),
                            angles.dims, angles.interleaved, angles.cosine.data<float>(), angles.sine.data<float>(), inverse});
  };
  turn(x, false);
  if (!run.records({&x})) return;
  run.recorder->record("rotary", x, {angles.cosine, angles.sine}, [x = shadow_of(x), turn](Gradients& gradients) {
    Tensor d_x = gradients.of(x);
    turn(d_x, true);
  });
}

}  // namespace clearhead::ops
