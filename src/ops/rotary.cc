// Rotary embeddings: pairs of channels are rotated by an angle. The gradient is rotated back.
#include <cmath>

#include "backends/registry.h"
#include "base/format.h"
#include "ops/ops.h"

namespace clearhead::ops {

std::vector<double> rotary_frequencies(double base, int64_t dims) {
  std::vector<double> frequencies;
  for (int64_t i = 0; i < dims / 2; ++i) frequencies.push_back(std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(dims)));
  return frequencies;
}

void fill_angles(const std::vector<double>& frequencies, const std::vector<int32_t>& positions, RotaryAngles& angles) {
  float* cosine = angles.cosine.mutable_data<float>();
  float* sine = angles.sine.mutable_data<float>();
  for (const int32_t position : positions) {
    for (const double frequency : frequencies) {
      const double angle = static_cast<double>(position) * frequency;
      *cosine++ = static_cast<float>(std::cos(angle));
      *sine++ = static_cast<float>(std::sin(angle));
    }
  }
}

RotaryAngles rotary_angles(Run& run, const std::vector<double>& frequencies, bool interleaved, const std::vector<int32_t>& positions) {
  const int64_t rows = static_cast<int64_t>(positions.size()), half = static_cast<int64_t>(frequencies.size());
  RotaryAngles out{run.take({rows, half}), run.take({rows, half}), 2 * half, interleaved};
  fill_angles(frequencies, positions, out);
  return out;
}

void rotary(Run& run, Tensor& x, const RotaryAngles& angles) {
  const bool fits = x.rank() == 3 && x.stride(2) == 1 && angles.dims <= x.size(2) && angles.cosine.shape() == angles.sine.shape() &&
                    angles.cosine.shape() == Shape{x.size(0), angles.dims / 2};
  if (!fits)
    fail(ErrorCode::kShape, "rotary: x is {}, the angles are {}; expected [rows, heads, head_dim] and [rows, dims / 2]",
         to_string(x.shape()), to_string(angles.cosine.shape()));
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
