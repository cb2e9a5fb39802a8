// Gradients of ops that pick elements, out[i] = x[chosen[i]]: each gradient is added to the element that was picked.
#pragma once

#include <cmath>
#include <memory>
#include <vector>

#include "ops/ops.h"

namespace clearhead::ops {

/// True if `value` replaces `best`. Of equal values the first stays the best. NaN is better than any number, as in PyTorch.
inline bool is_better(float value, float best) { return value > best || (std::isnan(value) && !std::isnan(best)); }

/// Records the op. x and out are contiguous and divided into `planes` equal planes; `chosen` holds indices within the
/// plane of x. Throws kUnsupported for planes of 2³¹ elements or more.
void record_choice(Run& run, const char* op, const Tensor& x, const Tensor& out, const std::shared_ptr<const std::vector<int32_t>>& chosen,
                   int64_t planes);

}  // namespace clearhead::ops
