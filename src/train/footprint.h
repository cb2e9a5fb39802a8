// The minimum memory of a training run, computed before anything is allocated.
//
//   always            the large parameters, their gradients and the optimiser's sums    parameters · (8 + 4·sums) bytes
//   per micro-batch   the input of every layer in the residual stream, and the logits
//                     batch · length · (layers · width + vocabulary) · 2 or 4 bytes
//
// The large parameters are the token embedding table and the weights of attention and MLP. A micro-batch of pairs counts as 0,
// because its size depends on the data. These are lower bounds: a run that fits is never refused, and a run that cannot fit is
// refused immediately instead of being killed an hour later.
#pragma once

#include "models/architecture.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::train {

struct Footprint {
  double held = 0, part = 0;  ///< bytes
};
Footprint least_footprint(const Architecture& facts, const tasks::Recipe& recipe);

/// Throws kBudget if the sum is more than physical_memory(). The message names both sizes and the recipe
/// fields they depend on.
void check_fits(const Architecture& facts, const tasks::Recipe& recipe);

}  // namespace clearhead::train
