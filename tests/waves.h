// A tensor filled from a sine, for tests that only need values that differ.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>

#include "clearhead/tensor.h"

namespace clearhead {

/// f32, in [−1, 1].
inline Tensor waves(Shape shape, float step) {
  Tensor tensor = Tensor::empty(std::move(shape));
  float* values = tensor.mutable_data<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) values[i] = std::sin(static_cast<float>(i % 100'003) * step);
  return tensor;
}

}  // namespace clearhead
