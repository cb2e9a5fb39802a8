// clearhead train RECIPE --test MODEL: what a model is worth on the part of a recipe's data that no training saw.
#pragma once

#include <string>

#include "train/recipe.h"

namespace clearhead::cli {

/// Texts: bits a byte, each text read whole. Pairs: BLEU of beam search. Throws kInvalidArgument where the recipe names nothing to test on.
void measure(const Recipe& recipe, const std::string& model, bool json);

}  // namespace clearhead::cli
