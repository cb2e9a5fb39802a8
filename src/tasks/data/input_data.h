// Reads labelled inputs: lines of text, or examples of another kind (tasks/recipe/example_kind.h). A field "task.NAME" of the recipe
// selects the kind; without one, the input of the recipe's model does.
#pragma once

#include <string>
#include <vector>

#include "tasks/data/labelled_data.h"
#include "tasks/recipe/example_kind.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {

/// The inputs in a file of the recipe's task, except those whose label the recipe skips. reads: as ModelInfo::reads. Throws
/// kNotFound, naming the file and where to get it, kFormat with file, line and column, kUnsupported for a kind of input without a reader.
std::vector<LabelledInput> read_inputs(const std::string& file, const Recipe& recipe, const std::string& reads,
                                       LeftOut* left_out = nullptr);

/// The lines of a file as the recipe's model reads them: texts, or other inputs.
std::vector<LabelledLine> read_lines(const std::string& file, const Recipe& recipe, LeftOut* left_out = nullptr);

/// The distinct labels of the training file, sorted. Throws whatever reading it throws, and kInvalidArgument for fewer than `least`.
std::vector<std::string> class_names(const Recipe& recipe, size_t least);
/// The texts of the training file, to train a vocabulary.
std::vector<std::string> training_texts(const Recipe& recipe);

}  // namespace clearhead::tasks
