// clearhead train RECIPE --batches N: what the first parts of steps are shown.
#pragma once

#include <cstdint>

#include "train/recipe.h"

namespace clearhead::cli {

/// Each sequence as text, its source before it; as JSON the ids and targets that the trainer reads.
void show_batches(const Recipe& recipe, int64_t count, bool json);

}  // namespace clearhead::cli
