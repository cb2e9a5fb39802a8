// A norm as it acts on parts of a row: with the scale of the whole row, it is linear.
#pragma once

#include "ops/ops.h"

namespace clearhead {

/// Each row of `parts` becomes (part − its mean)/σ·w with σ of `whole`, the row that they are parts of. RMS norms take no mean.
///   parts: f32 [part, width], contiguous; whole: [width]
void scale_as(const ops::Normalisation& norm, const float* whole, Tensor& parts);

}  // namespace clearhead
