// Rows of tables: TSV without quoting, CSV according to RFC 4180.
#include "base/table.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "refused.h"

namespace clearhead {
namespace {

using Rows = std::vector<std::pair<int64_t, std::vector<std::string>>>;

Rows rows_of(const std::string& text, const std::string& path) {
  Rows out;
  for_each_row(text, path, [&](const TableRow& row) { out.push_back({row.line, {row.cells.begin(), row.cells.end()}}); });
  return out;
}

TEST(Table, TsvHasNoQuotes) { EXPECT_EQ(rows_of("a\t\"b\nc,d\t\r\n", "x.tsv"), (Rows{{1, {"a", "\"b"}}, {2, {"c,d", ""}}})); }

TEST(Table, CsvCellsInQuotesHoldCommasQuotesAndLineBreaks) {
  EXPECT_EQ(rows_of("text,label\r\n\"a, b\",x\n\"say \"\"hi\"\"\nagain\",y\n,\n", "x.csv"),
            (Rows{{1, {"text", "label"}}, {2, {"a, b", "x"}}, {3, {"say \"hi\"\nagain", "y"}}, {5, {"", ""}}}));
}

TEST(Table, CsvNeedsNoLineBreakAtTheEndAndSkipsEmptyLines) {
  EXPECT_EQ(rows_of("a,b\n\n\r\nc,\"d\"", "x.csv"), (Rows{{1, {"a", "b"}}, {4, {"c", "d"}}}));
  EXPECT_EQ(rows_of("", "x.csv"), Rows{});
}

TEST(Table, AQuoteWithinACellIsPartOfIt) { EXPECT_EQ(rows_of("5\" disk,b\n", "x.csv"), (Rows{{1, {"5\" disk", "b"}}})); }

TEST(Table, ACsvCellThatDoesNotEndIsNamedByTheLineOnWhichItBegins) {
  expect_refused(ErrorCode::kFormat, "x.csv, line 2: a cell that begins with a quote has no closing quote",
                 [] { (void)rows_of("a,b\nc,\"d\ne,f\n", "x.csv"); });
  expect_refused(ErrorCode::kFormat, "x.csv, line 1: expected a comma or a line break after the closing quote of a cell",
                 [] { (void)rows_of("\"a\"b,c\n", "x.csv"); });
}

}  // namespace
}  // namespace clearhead
