// Tables as text: TSV (one row per line, cells separated by tabs, no quotes) and CSV (RFC 4180).
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace clearhead {

/// Calls take(line, number) for each line, without its "\n" or "\r\n"; numbers count from 1. Text after the last line
/// break is a line if it is not empty.
void for_each_line(std::string_view text, const std::function<void(std::string_view line, int64_t number)>& take);

/// A row of a table. The cells are valid during the call that gets them.
struct TableRow {
  std::vector<std::string_view> cells{};
  std::string_view text{};  // of the whole row, as it is in the file
  int64_t line = 1;         // the line on which the row begins, from 1
};
/// Returns true if a file's name ends in ".csv".
bool is_csv(std::string_view path);
/// "commas" or "tabs", by the file's name; for messages.
const char* separators_of(std::string_view path);
/// Calls take(row) for each row of the file's text. A CSV cell in quotes may hold commas, line breaks and doubled quotes; empty lines
/// between the rows of a CSV file are skipped. Throws kFormat with path and line for a quoted cell that does not end, or that is followed
/// by other text.
void for_each_row(std::string_view text, std::string_view path, const std::function<void(const TableRow& row)>& take);

/// Splits a line at its tabs; empty cells are kept.
std::vector<std::string_view> cells_of(std::string_view line);

}  // namespace clearhead
