// Finds the two columns in the first row of a table, then reads row by row.
#include "tasks/data/input_table.h"

#include <algorithm>
#include <filesystem>

#include "base/format.h"
#include "base/table.h"
#include "clearhead/error.h"
#include "tasks/data/table_header.h"
#include "tasks/data/text_data.h"

namespace clearhead::tasks {

std::vector<LabelledInput> read_input_table(const std::string& file, const Recipe& recipe, const std::string& column, const char* field,
                                            const ReadCell& read) {
  const std::string& label_column = recipe.task->data.label;
  const bool is_named = !is_column_number(column) || !is_column_number(label_column);
  size_t input = 0, label = 0;
  const SourceText opened = open_text(recipe.source, file);
  const std::string folder = std::filesystem::path(opened.path()).parent_path().string();
  std::vector<LabelledInput> out;
  for_each_row(opened.text, opened.path(), [&](const TableRow& row) {
    const std::string where = format("{}, line {}", opened.path(), row.line);
    if (row.line == 1) {
      input = column_of(column, field, recipe.where, row.cells, opened.path());
      label = column_of(label_column, "task.label", recipe.where, row.cells, opened.path());
      if (is_named) return;
    }
    if (const size_t most = std::max(input, label); row.cells.size() < most)
      fail(ErrorCode::kFormat, "{}: expected {} columns with {} between, found {}", where, most, separators_of(file), row.cells.size());
    out.push_back({.input = read(row.cells[input - 1], folder, where), .label = std::string(row.cells[label - 1]), .where = where});
  });
  return out;
}

}  // namespace clearhead::tasks
