// Tensors of normal random numbers.
#pragma once

#include <cstdint>
#include <random>
#include <utility>

#include "clearhead/tensor.h"

namespace clearhead {

/// f32, from N(0, deviation²).
inline Tensor random_tensor(Shape shape, uint32_t seed, double deviation = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, static_cast<float>(deviation));
  Tensor tensor = Tensor::empty(std::move(shape));
  float* values = tensor.mutable_data<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) values[i] = normal(random);
  return tensor;
}

}  // namespace clearhead
