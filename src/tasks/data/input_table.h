// A table of labelled inputs: one column has the inputs, such as the paths of files, and another one the labels.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/data/input_data.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {

/// Reads the input in a cell.   folder: that of the table; where: the line, for messages
using ReadCell = std::function<ModelInput(std::string_view cell, const std::string& folder, const std::string& where)>;
/// Reads a table with the recipe's label column. The first row is skipped if it names one of the columns.
/// column: of the inputs, by name or by number; field: the recipe's field that gives it, for messages. Throws kNotFound, kFormat with the
/// line, and what `read` throws.
std::vector<LabelledInput> read_input_table(const std::string& file, const Recipe& recipe, const std::string& column, const char* field,
                                            const ReadCell& read);

}  // namespace clearhead::tasks
