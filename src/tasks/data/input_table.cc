// Finds the columns in the first row of a table, then reads row by row.
#include "tasks/data/input_table.h"

#include <algorithm>
#include <filesystem>

#include "base/format.h"
#include "base/table.h"
#include "clearhead/error.h"
#include "tasks/data/table_header.h"
#include "tasks/data/text_data.h"

namespace clearhead::tasks {

std::vector<LabelledInput> read_input_table(const std::string& file, const Recipe& recipe, const std::vector<InputColumn>& columns,
                                            const ReadCells& read) {
  const std::string& label_column = recipe.task->data.label;
  const bool is_named = !is_column_number(label_column) ||
                        std::any_of(columns.begin(), columns.end(), [](const InputColumn& one) { return !is_column_number(one.column); });
  std::vector<InputCell> cells(columns.size());
  size_t label = 0, most = 0;
  const SourceText opened = open_text(recipe.source, file);
  const std::string folder = std::filesystem::path(opened.path()).parent_path().string();
  std::vector<LabelledInput> out;
  for_each_row(opened.text, opened.path(), [&](const TableRow& row) {
    const std::string where = format("{}, line {}", opened.path(), row.line);
    if (row.line == 1) {
      most = label = column_of(label_column, "task.label", recipe.where, row.cells, opened.path());
      for (size_t at = 0; at < columns.size(); ++at) {
        cells[at].column = column_of(columns[at].column, columns[at].field, recipe.where, row.cells, opened.path());
        most = std::max(most, cells[at].column);
      }
      if (is_named) return;
    }
    if (row.cells.size() < most)
      fail(ErrorCode::kFormat, "{}: expected {} columns separated by {}, found {}", where, most, separators_of(file), row.cells.size());
    for (InputCell& cell : cells) cell.text = row.cells[cell.column - 1];
    out.push_back({.input = read(cells, folder, where), .label = std::string(row.cells[label - 1]), .where = where});
  });
  return out;
}

std::vector<LabelledInput> read_input_table(const std::string& file, const Recipe& recipe, const std::string& column, const char* field,
                                            const ReadCell& read) {
  return read_input_table(file, recipe, {{column, field}},
                          [&](const std::vector<InputCell>& cells, const std::string& folder, const std::string& where) {
                            return read(cells.front().text, folder, where);
                          });
}

}  // namespace clearhead::tasks
