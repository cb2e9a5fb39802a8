// What a training run takes at the least, before any of it is allocated.
//
//   held      every parameter, its gradient and the optimiser's sums              parameters · (8 + 4·sums) bytes
//   a part    the residual stream into every layer, and the logits                batch · length · (layers · width + vocabulary) · 2 or 4 bytes
//
// A part of pairs counts nothing: the data decides how much of its places it fills. Lower bounds: what fits is never refused; what cannot fit is, in place of being killed an hour later.
#pragma once

#include "models/architecture.h"
#include "train/recipe.h"

namespace clearhead {

struct Footprint {
  double held = 0, part = 0;  ///< bytes
};
Footprint least_footprint(const Architecture& facts, const Recipe& recipe);

/// Throws kBudget naming both sizes and the fields they follow from, where they are more than physical_memory().
void check_fits(const Architecture& facts, const Recipe& recipe);

}  // namespace clearhead
