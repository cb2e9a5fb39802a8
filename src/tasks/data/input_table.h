// A table of labelled inputs: one or more columns have the inputs, such as the paths of files, and another one the labels.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/data/input_data.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {

/// A column of the inputs, by name or by number.   field: the recipe's field that gives it, for messages
struct InputColumn {
  std::string column{}, field{};
};
struct InputCell {
  std::string_view text{};
  size_t column = 0;  // its number, from 1
};
/// Reads the input in the cells of the columns.   folder: that of the table; where: the line, for messages
using ReadCells = std::function<ModelInput(const std::vector<InputCell>& cells, const std::string& folder, const std::string& where)>;
/// Reads a table with the recipe's label column. The first row is skipped if the recipe gives one of the columns by name. Throws
/// kNotFound, kFormat with the line, and what `read` throws.
std::vector<LabelledInput> read_input_table(const std::string& file, const Recipe& recipe, const std::vector<InputColumn>& columns,
                                            const ReadCells& read);

/// The same for a single column.
using ReadCell = std::function<ModelInput(std::string_view cell, const std::string& folder, const std::string& where)>;
std::vector<LabelledInput> read_input_table(const std::string& file, const Recipe& recipe, const std::string& column, const char* field,
                                            const ReadCell& read);

}  // namespace clearhead::tasks
