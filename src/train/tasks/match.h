// Texts that belong together: vectors of both sides of a pair that point the same way.
#pragma once

#include <memory>

#include "clearhead/tokenizer.h"
#include "train/recipe.h"
#include "train/task.h"

namespace clearhead {

/// Reads the recipe's pairs, or the turns of its dialogues and what was said before each. Its model is an encoder, whose last
/// hidden rows are averaged. Throws what reading the files throws.
std::unique_ptr<Task> match_task(const Recipe& recipe, const Tokenizer& tokenizer);

}  // namespace clearhead
