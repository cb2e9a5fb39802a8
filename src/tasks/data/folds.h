// Labelled lines that are split into folds. Every line of all files is assigned to a fold by a hash of its text. One fold is for testing,
// the next one for validation or training, the others for training. Equal texts are in the same fold, and the fold of a line does not
// depend on the other lines.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tasks/data/input_data.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {

/// The lines of one split, a name in TaskRecipe::kParts. Throws whatever reading the files throws.
std::vector<LabelledLine> read_fold(const std::string& part, const Recipe& recipe, LeftOut* left_out = nullptr);
/// The digest (base/hash.h) of a line's texts, joined with line breaks. The line's fold is this digest modulo the number of folds.
uint64_t hash_of(const LabelledLine& line);

}  // namespace clearhead::tasks
