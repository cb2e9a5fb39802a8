// The measurements of --test for speech models.
#pragma once

#include "clearhead/model.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::cli {

/// Prints the word error rate on the recipe's test sounds, each alone and joined into sequences, and the fraction of steps in which
/// attention does not move backwards.
void measure_transcripts(const tasks::Recipe& recipe, const Model& model, bool json);

}  // namespace clearhead::cli
