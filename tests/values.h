// The elements of a tensor as a vector, for comparisons.
#pragma once

#include <vector>

#include "clearhead/tensor.h"

namespace clearhead {

using Floats = std::vector<float>;

/// The elements of an f32 tensor with any strides, in row-major order.
inline Floats values_of(const Tensor& t) {
  const Tensor whole = t.contiguous();
  return {whole.data<float>(), whole.data<float>() + whole.numel()};
}

}  // namespace clearhead
