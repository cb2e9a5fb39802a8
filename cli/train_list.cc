// Reads recipes/table.tsv, which recipes/README.md shows too. After a line of headings, each line is one recipe with tab-separated
// cells: its field (language, vision, …), its file, what it trains, the result on the test set, a baseline (floor), a reference, the time,
// and the folder in which the trained model ships (— if it does not). The recipes of a field are adjacent.
#include "cli/train_list.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/format.h"
#include "base/table.h"
#include "base/text_file.h"
#include "clearhead/error.h"
#include "cli/cli.h"
#include "cli/terminal.h"

namespace clearhead::cli {
namespace {

constexpr std::array<const char*, 8> kHeadings = {"field", "recipe", "trains", "reached", "floor", "reference", "time", "ships"};
using Row = std::array<std::string, kHeadings.size()>;

std::vector<Row> rows_of(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    fail(ErrorCode::kNotFound,
         "{}: there is no such file; give the folder of recipes (recipes in clearhead's source), as in train --list FOLDER", path);
  }
  std::vector<Row> rows;
  for_each_line(read_text_file(path), [&](std::string_view line, int64_t number) {
    const std::vector<std::string_view> cells = cells_of(line);
    if (cells.size() != kHeadings.size())
      fail(ErrorCode::kFormat, "{}, line {}: expected {} tab-separated cells, found {}", path, number, kHeadings.size(), cells.size());
    std::copy(cells.begin(), cells.end(), rows.emplace_back().begin());
  });
  if (!rows.empty()) rows.erase(rows.begin());
  return rows;
}

}  // namespace

void list_recipes(const std::string& folder, bool json) {
  const std::vector<Row> rows = rows_of(folder + "/table.tsv");
  if (json) {
    Json out = Json::array();
    for (const Row& row : rows) {
      Json item = Json::object();
      for (size_t at = 0; at < row.size(); ++at) item[kHeadings[at]] = row[at];
      out.push(std::move(item));
    }
    return print_json(out);
  }
  std::array<int, kHeadings.size()> widths{};
  Row headings;
  std::copy(kHeadings.begin(), kHeadings.end(), headings.begin());
  const auto measure = [&](const Row& row) {
    for (size_t at = 0; at < row.size(); ++at) widths[at] = std::max(widths[at], display_width(row[at]));
  };
  const auto print_row = [&](const Row& row) {
    std::string line = "  ";
    for (size_t at = 1; at + 1 < row.size(); ++at) line += fit(row[at], widths[at]) + "  ";
    print(line + row.back());
  };
  measure(headings);
  for (const Row& row : rows) measure(row);
  print_row(headings);
  std::string field;
  for (const Row& row : rows) {
    if (row[0] != field) print("\n" + row[0]);
    field = row[0];
    print_row(row);
  }
}

}  // namespace clearhead::cli
