// Generates questions about scenes from a file of labelled pictures. Each scene is a grid of side × side pictures drawn from the file.
//
//   "what is in the middle?"   "what is in the second row and third column?"   about one cell
//   "where is the three?"                                                      the cell of the only 3, as "first row and third column"
//   "what is left of the three?"                                               the cell next to the only 3: two cells matter
//   "how many threes are there?"                                               all cells
//
// In questions, labels that are digits are written as words ("three"), other labels as they are. Answers are labels, counts as words,
// places, or "nothing". Scenes and questions depend only on the recipe's seed for scenes and on the split. In training scenes, each
// picture is distorted independently. With "fewest", half of the training scenes have empty cells: in a scene with a single picture,
// the object of a question is easy to find, and the model learns this first.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "tasks/data/input_data.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {

std::vector<LabelledInput> read_scenes(const std::string& file, const Recipe& recipe);

/// An attention metric over the test questions about one cell: the share of questions for which that cell, or the cell that the
/// question refers to, has the largest weight in a layer of the family "cross" (mean of the layer's heads; words are weighted by
/// their attention in the family "pool"). Returns the share of the layer where it is highest.
double share_of_asked(const Model& model, const Recipe& recipe);

}  // namespace clearhead::tasks
