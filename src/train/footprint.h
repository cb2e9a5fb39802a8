// The minimum memory of a training run, computed before anything is allocated.
//
//   always            the large parameters, their gradients and the optimiser's state   parameters · (8 + 4·sums) bytes;
//                     sums: numbers that the optimiser keeps for each parameter (Adam: 2; SGD: 1 with momentum, else 0)
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
  double held = 0, part = 0;  ///< bytes: always, and for a micro-batch
};
Footprint least_footprint(const Architecture& facts, const tasks::Recipe& recipe);

/// Throws kBudget if held + part is more than physical_memory(). The message names both sizes and the recipe
/// fields they depend on.
void check_fits(const Architecture& facts, const tasks::Recipe& recipe);

}  // namespace clearhead::train
