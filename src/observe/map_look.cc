// Checks and ranges of a look at a record: stale records, descriptions that the backend refuses, rows that were not kept.
// Sampled rows are spread evenly, with at least one for each row of cells.
#include "observe/map_look.h"

#include <algorithm>
#include <numeric>

#include "backends/registry.h"
#include "base/format.h"
#include "base/memory.h"

namespace clearhead {

void check_look(const AttentionRecord& record) {
  record.check_fresh();
  if (const auto missing = backend().refusal(record.spec, record.shape())) {
    fail(ErrorCode::kUnsupported, "map: the {} backend cannot recompute these weights: {}. CLEARHEAD_BACKEND=ref can.", backend().name,
         *missing);
  }
}

void check_range(std::string_view what, Range range, int64_t count) {
  if (range.begin < 0 || range.end > count || range.begin > range.end) {
    fail(ErrorCode::kInvalidArgument, "map: {} [{}, {}) are not a range inside [0, {})", what, range.begin, range.end, count);
  }
}

Range rows_of(const AttentionRecord& record, Range queries) {
  check_range("queries", queries, record.query_length);
  const Range kept{record.first_query, record.first_query + record.rows_kept()};
  if (queries.size() > 0 && (queries.begin < kept.begin || queries.end > kept.end)) {
    fail(ErrorCode::kNotFound,
         "map: Q of queries [{}, {}) was not kept; this record holds [{}, {}). Request queries inside this range, or record more rows.",
         queries.begin, queries.end, kept.begin, kept.end);
  }
  return {queries.begin - record.first_query, queries.end - record.first_query};
}

void check_size(std::string_view what, std::initializer_list<int64_t> counts) {
  double bytes = sizeof(float);
  for (const int64_t count : counts) bytes *= static_cast<double>(count);
  const auto memory = static_cast<double>(physical_memory());
  if (bytes <= memory / 4) return;  // leaves room for sums and counts in double
  fail(ErrorCode::kBudget, "map: {} would take {}; expected at most a quarter of the {} of this machine. Ask for fewer, or for fewer heads",
       what, human_bytes(static_cast<uint64_t>(std::min(bytes, 1e18))), human_bytes(physical_memory()));
}

std::vector<int64_t> every(Range rows) {
  std::vector<int64_t> out(static_cast<size_t>(std::max<int64_t>(0, rows.size())));
  std::iota(out.begin(), out.end(), rows.begin);
  return out;
}

std::vector<int64_t> sampled(Range rows, int64_t wanted, const CellGrid& grid) {
  const int64_t count = rows.size();
  if (wanted <= 0 || wanted >= count) return every(rows);
  std::vector<int64_t> chosen;
  chosen.reserve(static_cast<size_t>(wanted + grid.cells[0]));
  for (int64_t k = 0; k < wanted; ++k) chosen.push_back(rows.begin + (2 * k + 1) * count / (2 * wanted));
  for (int64_t cell = 0; cell < grid.cells[0]; ++cell) {
    const int64_t begin = grid.row_begin(cell), end = grid.row_begin(cell + 1);
    const auto first = std::lower_bound(chosen.begin(), chosen.begin() + wanted, begin);
    const bool seen = first != chosen.begin() + wanted && *first < end;
    if (begin < end && !seen) chosen.push_back((begin + end) / 2);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

CellGrid grid_of(const TileRequest& request, Range rows) {
  const auto [row_cells, key_cells] = request.cells;
  const bool counted = row_cells > 0 && key_cells > 0, no_count = row_cells == 0 && key_cells == 0;
  if (request.cell_side < 0 || !(counted ? request.cell_side == 0 : no_count)) {
    fail(ErrorCode::kInvalidArgument,
         "map: a tile has cells {{{}, {}}} and cell_side {}; expected either two counts above 0, or {{0, 0}} and a cell_side of 0 or more "
         "(0: one cell per weight)",
         row_cells, key_cells, request.cell_side);
  }
  CellGrid grid{.rows = rows, .keys = request.keys, .cells = request.cells};
  if (!counted) {
    const int64_t side = grid.side = std::max<int64_t>(1, request.cell_side);
    grid.cells = {(rows.size() + side - 1) / side, (request.keys.size() + side - 1) / side};
  }
  check_size("a tile's cells", {grid.cells[0], grid.cells[1], 2});
  return grid;
}

void LookProgress::before_task() const {
  if (options_.cancel && options_.cancel->load(std::memory_order_relaxed))
    fail(ErrorCode::kCancelled, "map: the computation was cancelled");
}

void LookProgress::after_task(int thread) {
  const int64_t done = ++done_;
  if (thread == 0 && options_.progress) options_.progress(static_cast<double>(done) / static_cast<double>(std::max<int64_t>(1, tasks_)));
}

}  // namespace clearhead
