// Works in parallel on blocks of queries, each against the keys within the offsets of any of its queries. The weights of a block
// are pooled at once, so that only the blocks in progress are in memory. A block computes (queries + offsets)/offsets times as
// many weights as are requested, where `queries` is the number of queries in the block.
#include "observe/offset_columns.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "base/format.h"
#include "base/parallel.h"
#include "observe/map_look.h"

namespace clearhead {
namespace {

constexpr int64_t kBlock = 64;  // queries per block

constexpr float kNothing = -std::numeric_limits<float>::infinity();

// For each cell: the largest weight (kNothing if no pair is visible), and the sum and count of the scored weights.
struct Pool {
  std::vector<float> max;
  std::vector<double> sum;
  std::vector<int32_t> count;
};

// Adds `count` weights to `count` neighbouring cells (kEach), or all of them to one cell. A hidden pair (NaN) changes nothing,
// because comparisons with NaN are false; a pair that was never scored (−1) changes only the maximum. Thus the loop needs no
// branches, and the compiler vectorises it for kEach.
template <bool kEach>
void add_weights(const float* __restrict weights, int64_t count, float* __restrict max, double* __restrict sum,
                 int32_t* __restrict scored) {
  for (int64_t at = 0; at < count; ++at) {
    const int64_t cell = kEach ? at : 0;
    const float weight = weights[at];
    max[cell] = weight > max[cell] ? weight : max[cell];
    sum[cell] += static_cast<double>(weight >= 0 ? weight : 0.0F);
    scored[cell] += weight >= 0 ? 1 : 0;
  }
}

// Pools the weights of `rows` into their cells. No other task writes to these cells.
void add_block(const LayerMap& map, int64_t head, const NearRequest& request, Range rows, Pool& pool, int64_t columns) {
  const Range keys{std::max<int64_t>(0, rows.begin + request.offsets.begin), std::min(map.keys(), rows.end - 1 + request.offsets.end)};
  if (keys.size() <= 0) return;
  TileRequest tile{.queries = rows, .keys = keys};
  if (!request.key_factors.empty())
    tile.key_factors.assign(request.key_factors.begin() + keys.begin, request.key_factors.begin() + keys.end);
  if (!request.row_factors.empty()) {
    const auto from = request.row_factors.begin() + (rows.begin - request.queries.begin);
    tile.row_factors.assign(from, from + rows.size());
  }
  const Tile weights = map.tile(head, tile);
  const float* values = weights.max.data<float>();
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const float* row = values + (i - rows.begin) * keys.size();
    const size_t first_cell = static_cast<size_t>((i - request.queries.begin) / request.row_side * columns);
    const int64_t from = std::max(keys.begin, i + request.offsets.begin), to = std::min(keys.end, i + request.offsets.end);
    const int64_t first = from - i - request.offsets.begin;
    size_t cell = first_cell + static_cast<size_t>(first / request.column_side);
    const auto add = request.column_side == 1 ? add_weights<true> : add_weights<false>;
    int64_t left = request.column_side == 1 ? to - from : request.column_side - first % request.column_side;  // weights per call of add
    for (int64_t j = from; j < to; j += left, ++cell, left = request.column_side) {
      left = std::min(left, to - j);
      add(row + (j - keys.begin), left, pool.max.data() + cell, pool.sum.data() + cell, pool.count.data() + cell);
    }
  }
}

}  // namespace

NearCells near_cells(const LayerMap& map, int64_t head, const NearRequest& request, const LookOptions& options) {
  const Range queries = request.queries, near = request.offsets;
  if (queries.begin < 0 || queries.end > map.queries() || queries.size() <= 0)
    fail(ErrorCode::kInvalidArgument, "queries [{}, {}): expected a non-empty range of the {} queries of the map", queries.begin,
         queries.end, map.queries());
  if (near.size() <= 0 || request.row_side < 1 || request.column_side < 1)
    fail(ErrorCode::kInvalidArgument, "offsets [{}, {}) in cells of {} × {}: expected at least one offset, and cells of 1 × 1 or more",
         near.begin, near.end, request.row_side, request.column_side);
  NearCells out;
  out.rows = (queries.size() + request.row_side - 1) / request.row_side;
  out.columns = (near.size() + request.column_side - 1) / request.column_side;
  check_size("cells of offsets", {out.rows, out.columns, 5});  // max, mean and count, and a sum in double
  const auto cells = static_cast<size_t>(out.rows * out.columns);
  Pool pool{std::vector<float>(cells, kNothing), std::vector<double>(cells, 0.0), std::vector<int32_t>(cells, 0)};
  // A task covers whole rows of cells, so that no cell is written by two threads.
  const int64_t unit = (kBlock + request.row_side - 1) / request.row_side * request.row_side;
  const int64_t of_each = options.sampled_rows > 0 ? std::max<int64_t>(1, options.sampled_rows / out.rows) : request.row_side;
  out.exact = of_each >= request.row_side;
  std::atomic<int64_t> looked_at{0}, done{0};
  const int64_t tasks = (queries.size() + unit - 1) / unit;
  const auto take = [&](int64_t task, int thread) {
    if (options.cancel && options.cancel->load(std::memory_order_relaxed)) fail(ErrorCode::kCancelled, "the computation was cancelled");
    const Range own{queries.begin + task * unit, std::min(queries.end, queries.begin + (task + 1) * unit)};
    const int64_t step = out.exact ? own.size() : request.row_side;
    for (int64_t cell = own.begin; cell < own.end; cell += step) {
      const int64_t end = std::min(own.end, cell + (out.exact ? step : of_each));
      for (int64_t begin = cell; begin < end; begin += kBlock)
        add_block(map, head, request, {begin, std::min(end, begin + kBlock)}, pool, out.columns);
      looked_at += end - cell;
    }
    const int64_t finished = ++done;
    if (options.progress && thread == 0) options.progress(static_cast<double>(finished) / static_cast<double>(tasks));
  };
  if (map.look()) {  // gradient maps run in parallel internally
    for (int64_t task = 0; task < tasks; ++task) take(task, 0);
  } else {
    parallel_for(tasks, take);
  }
  for (float& most : pool.max) most = most == kNothing ? std::numeric_limits<float>::quiet_NaN() : most;
  out.max = std::move(pool.max);
  out.mean.resize(cells);
  for (size_t i = 0; i < cells; ++i)
    out.mean[i] = pool.count[i] > 0 ? static_cast<float>(pool.sum[i] / static_cast<double>(pool.count[i])) : out.max[i];
  out.rows_looked_at = looked_at;
  return out;
}

}  // namespace clearhead
