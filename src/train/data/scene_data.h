// Questions about scenes, made from a file of labelled pictures: each scene is side × side pictures drawn from the file, one in a cell.
//
//   "what is in the middle?"   "what is in the second row and third column?"   one cell is asked for
//   "where is the three?"                                                      the cell of the only 3, as "first row and third column"
//   "what is left of the three?"                                               the cell beside the only 3: two cells matter
//   "how many threes are there?"                                               all cells
//
// Labels stand in questions as words if they are digits ("three"), else as they are. Answers are labels, counts as words, places, or
// "nothing". Scenes and questions depend on the recipe's seed of scenes and on the part. Training scenes distort each picture by itself;
// with "fewest" half of them have empty cells: where a single picture is there, what a question names is easily found, and that is learned
// first.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "train/data/input_data.h"
#include "train/recipe.h"

namespace clearhead {

std::vector<LabelledInput> read_scenes(const std::string& file, const Recipe& recipe);

/// Over the test questions that ask for one cell: the share in which that cell, or the one that it is named by, holds the most weight of
/// a layer of the family "cross" (mean of its heads; each word counts by its weight in the answer, of the family "pool"). Of the layer
/// in which it does so most often.
double share_of_asked(const Model& model, const Recipe& recipe);

}  // namespace clearhead
