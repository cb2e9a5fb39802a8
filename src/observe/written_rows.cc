// Finds the first row that writes from the segments, items and generated tokens of a trace.
#include "observe/written_rows.h"

#include <algorithm>

namespace clearhead {
namespace {

Range rows_of_family(const RunText& text, const MapFamily& family) {
  return family.is_part ? Range{family.first_query, family.first_query + family.queries} : Range{0, text.tokens()};
}

}  // namespace

std::optional<int64_t> WrittenRows::named_by(int64_t row) const {
  if (!from || row < *from) return row;
  return row + 1 < end ? std::optional(row + 1) : std::nullopt;
}

Range WrittenRows::named_by(Range rows) const {
  if (!from || rows.end <= *from) return rows;
  const Range out{rows.begin < *from ? rows.begin : rows.begin + 1, std::min(rows.end + 1, end)};
  return {out.begin, std::max(out.begin, out.end)};
}

Range WrittenRows::rows_of(Range ids) const {
  if (!from || ids.begin >= end) return ids;
  if (ids.begin == *from && ids.size() == 1) return ids;
  const auto row_before = [&](int64_t boundary) { return boundary > *from ? boundary - 1 : boundary; };
  return {row_before(ids.begin), row_before(ids.end)};
}

WrittenRows written_rows(const Trace& trace, const MapFamily& family) {
  const RunText& text = trace.plan().text;
  const Range rows = rows_of_family(text, family);
  const auto generated = static_cast<int64_t>(trace.generated_tokens().size());
  const int64_t before = text.tokens() - generated - 1;  // the row that wrote the first generated token
  if (generated > 0 && rows.begin <= before && before < rows.end) return {before, text.tokens()};
  for (const TextSegment& segment : text.segments) {
    if (segment.name == "target" && segment.begin == rows.begin && segment.end == rows.end) return {rows.begin, rows.end};
  }
  const ItemRange* items = text.items_of(rows.begin);
  const bool is_grid = items && items->rows > 0 && items->begin == rows.begin && items->end == rows.end;
  const bool is_square = family.first_key == rows.begin && family.keys == family.queries;
  if (is_grid && is_square && family.causal) return {rows.begin, rows.end};
  return {};
}

std::string_view name_of_unwritten(const RunText& text, const WrittenRows& written, int64_t row) {
  const bool is_end = row > written.from.value_or(row) && (text.items_of(row) || text.special[static_cast<size_t>(row)] != 0);
  return is_end ? "(after the end)" : "(next)";
}

}  // namespace clearhead
