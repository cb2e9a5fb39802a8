// Questions about scenes, made from a file of labelled pictures: each scene is side × side pictures drawn from the file, one in a cell.
//
//   "what is in the middle?"   "what is in the second row and third column?"   one cell is asked for
//   "what is left of the three?"                                               the cell beside the only 3: two cells matter
//   "how many threes are there?"                                               all cells
//
// Labels stand in questions as words if they are digits ("three"), else as they are. Answers are labels, or counts as words. Scenes and
// questions depend on the recipe's seed of scenes and on the part; training scenes distort each picture by itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "train/recipe.h"
#include "train/tasks/input_data.h"

namespace clearhead {

std::vector<LabelledInput> read_scenes(const std::string& file, const Recipe& recipe);

/// Over the test questions that ask for one cell: the share in which that cell, or the one that it is named by, holds the most weight of
/// the family "cross" (mean over layers, heads and words).
double share_of_asked(const Model& model, const Recipe& recipe);

}  // namespace clearhead
