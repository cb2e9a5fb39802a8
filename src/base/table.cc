// Splits text into lines, rows and cells, which are views of the text; a quoted CSV cell is
// copied without its quotes.
#include "base/table.h"

#include <algorithm>
#include <deque>
#include <string>

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead {

void for_each_line(std::string_view text, const std::function<void(std::string_view line, int64_t number)>& take) {
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    take(line, number);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::vector<std::string_view> cells_of(std::string_view line) {
  std::vector<std::string_view> cells;
  for (size_t tab = line.find('\t'); tab != std::string_view::npos; tab = line.find('\t')) {
    cells.push_back(line.substr(0, tab));
    line.remove_prefix(tab + 1);
  }
  cells.push_back(line);
  return cells;
}

namespace {

class CsvReader {
 public:
  CsvReader(std::string_view text, std::string_view path) : text_(text), path_(path) {}

  bool at_end() const { return at_ >= text_.size(); }
  // Reads one row, to the line break after it.
  TableRow next() {
    TableRow row{.line = line_};
    unquoted_.clear();
    const size_t begin = at_;
    do {
      row.cells.push_back(peek() == '"' ? quoted_cell() : plain_cell());
    } while (take(','));
    row.text = text_.substr(begin, at_ - begin);
    if (row.text.ends_with('\r')) row.text.remove_suffix(1);
    take('\r');
    if (!at_end() && !take('\n')) fail_here("expected a comma or a line break after the closing quote of a cell");
    return row;
  }

 private:
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool take(char wanted) {
    if (at_end() || text_[at_] != wanted) return false;
    line_ += wanted == '\n';
    ++at_;
    return true;
  }
  std::string_view plain_cell() {
    const size_t end = std::min(text_.find_first_of(",\n", at_), text_.size());
    std::string_view cell = text_.substr(at_, end - at_);
    at_ = end;
    if (peek() != ',' && cell.ends_with('\r')) cell.remove_suffix(1);
    return cell;
  }
  std::string_view quoted_cell() {
    const int64_t first_line = line_;
    std::string& cell = unquoted_.emplace_back();
    take('"');
    while (!at_end()) {
      const char letter = text_[at_];
      if (letter == '"') {
        take('"');
        if (!take('"')) return cell;
      } else {
        take(letter);
      }
      cell += letter;
    }
    line_ = first_line;
    fail_here("a cell that begins with a quote has no closing quote");
  }
  [[noreturn]] void fail_here(const char* what) const { fail(ErrorCode::kFormat, "{}, line {}: {}", path_, line_, what); }

  std::string_view text_, path_;
  size_t at_ = 0;
  int64_t line_ = 1;
  std::deque<std::string> unquoted_{};  // cells of the current row; a deque, so that their addresses do not change
};

}  // namespace

bool is_csv(std::string_view path) { return path.ends_with(".csv"); }

const char* separators_of(std::string_view path) { return is_csv(path) ? "commas" : "tabs"; }

void for_each_row(std::string_view text, std::string_view path, const std::function<void(const TableRow& row)>& take) {
  if (!is_csv(path)) return for_each_line(text, [&](std::string_view line, int64_t number) { take({cells_of(line), line, number}); });
  CsvReader reader(text, path);
  while (!reader.at_end()) {
    if (const TableRow row = reader.next(); !row.text.empty()) take(row);
  }
}

}  // namespace clearhead
