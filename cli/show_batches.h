// clearhead train RECIPE --batches N: prints the first N batches.
#pragma once

#include <cstdint>

#include "tasks/recipe/recipe.h"

namespace clearhead::cli {

/// Prints each sequence as text, after its source if it has one; with `json`, the ids and targets that the trainer reads.
void show_batches(const tasks::Recipe& recipe, int64_t count, bool json);

}  // namespace clearhead::cli
