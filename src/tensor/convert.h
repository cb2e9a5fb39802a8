// Values between floating dtypes, into memory that is there already.
#pragma once

#include "clearhead/tensor.h"

namespace clearhead {

/// to = from, element by element; f32, bf16 or f16 each, any strides, equal shapes. Opens `to` for writing once. Throws kShape, kUnsupported.
void convert(const Tensor& from, Tensor& to);

}  // namespace clearhead
