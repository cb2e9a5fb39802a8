// What --test measures of a model that writes from sounds.
#pragma once

#include "clearhead/model.h"
#include "train/recipe.h"

namespace clearhead::cli {

/// Word errors of the recipe's test sounds, each alone and joined to strings, and in how many steps attention does not go back.
void measure_transcripts(const Recipe& recipe, const Model& model, bool json);

}  // namespace clearhead::cli
