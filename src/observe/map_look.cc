#include "observe/map_look.h"

#include <algorithm>

#include "backends/registry.h"
#include "base/format.h"

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
         "map: Q of queries [{}, {}) was not kept; this record holds [{}, {}). Look inside that, or record more rows.", queries.begin,
         queries.end, kept.begin, kept.end);
  }
  return {queries.begin - record.first_query, queries.end - record.first_query};
}

std::vector<int64_t> sampled(Range rows, int64_t wanted, int64_t row_cells) {
  const int64_t count = rows.size();
  std::vector<int64_t> chosen;
  if (wanted <= 0 || wanted >= count) {
    chosen.resize(static_cast<size_t>(std::max<int64_t>(0, count)));
    for (int64_t row = 0; row < count; ++row) chosen[static_cast<size_t>(row)] = rows.begin + row;
    return chosen;
  }
  chosen.reserve(static_cast<size_t>(wanted + row_cells));
  for (int64_t k = 0; k < wanted; ++k) chosen.push_back(rows.begin + (2 * k + 1) * count / (2 * wanted));
  for (int64_t cell = 0; cell < row_cells; ++cell) {  // a cell between two samples still shows its middle row
    const int64_t begin = cell_begin(count, row_cells, cell), end = cell_begin(count, row_cells, cell + 1);
    if (begin < end) chosen.push_back(rows.begin + (begin + end) / 2);
  }
  std::sort(chosen.begin(), chosen.end());
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  return chosen;
}

void LookProgress::before_task() const {
  if (options_.cancel && options_.cancel->load(std::memory_order_relaxed)) fail(ErrorCode::kCancelled, "map: the look was cancelled");
}

void LookProgress::after_task(int thread) {
  const int64_t done = ++done_;
  if (thread == 0 && options_.progress) options_.progress(static_cast<double>(done) / static_cast<double>(std::max<int64_t>(1, tasks_)));
}

}  // namespace clearhead
