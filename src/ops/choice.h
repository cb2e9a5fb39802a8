// Ops that pick elements: out[i] = x[chosen[i]]. What comes back is added where it was taken from.
#pragma once

#include <cmath>
#include <memory>
#include <vector>

#include "ops/ops.h"

namespace clearhead::ops {

/// Of equals the first is the best; a NaN is better than any number, as in PyTorch.
inline bool is_better(float value, float best) { return value > best || (std::isnan(value) && !std::isnan(best)); }

/// x and out fall into `planes` equal parts; `chosen` counts within its plane of x. Both are contiguous.
void record_choice(Run& run, const char* op, const Tensor& x, const Tensor& out, const std::shared_ptr<const std::vector<int32_t>>& chosen,
                   int64_t planes);

}  // namespace clearhead::ops
