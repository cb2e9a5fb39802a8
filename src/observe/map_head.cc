// Looks at one head: a row, a column, a tile of weights one by one or pooled.
//
// Pooling walks slices of rows × groups of cell columns. Each such task keeps, for the cells it touches, a maximum, a sum and a count; within
// a task rows are folded column by column (so that the loop is one vector operation per weight) and columns fold into cells when a cell row ends.
// Slices follow from the request alone and are merged in order: the bits do not depend on threads.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "backends/registry.h"
#include "base/format.h"
#include "base/parallel.h"
#include "clearhead/map.h"
#include "observe/map_look.h"

namespace clearhead {
namespace {

constexpr int64_t kBlockRows = 48;          // one query tile of the fast kernel
constexpr int64_t kSliceRows = 384;         // rows of one task
constexpr int64_t kPieceKeys = 1024;        // 48 rows of them stay in L2
constexpr int64_t kStripWeights = 1 << 22;  // weights between two looks at the cancel token
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Cell {
  float max = -1;  // weights are never negative: still −1 means nothing visible
  double sum = 0;
  int64_t count = 0;
  void merge(const Cell& other) {
    max = std::max(max, other.max);
    sum += other.sum;
    count += other.count;
  }
};

// Multiplies one row of weights by the request's factors. `row` counts from the tile's first query, `keys` from the map's first key.
void apply_factors(const TileRequest& request, int64_t row, Range keys, float* weights) {
  if (!request.row_factors.empty()) {
    const float factor = request.row_factors[static_cast<size_t>(row)];
    for (int64_t j = 0; j < keys.size(); ++j) weights[j] *= factor;
  }
  if (!request.key_factors.empty()) {
    const float* factors = request.key_factors.data() + (keys.begin - request.keys.begin);
    for (int64_t j = 0; j < keys.size(); ++j) weights[j] *= factors[j];
  }
}

// The grid of a pooled tile: which rows are looked at, and where cells end.
struct Grid {
  const AttentionRecord& record;
  const TileRequest& request;
  int64_t batch, head;
  Range rows, keys;  // rows of the record
  int64_t row_cells, key_cells;
  std::vector<int64_t> looked;  // rows of the record, ascending

  int64_t row_end(int64_t cell) const { return rows.begin + cell_begin(rows.size(), row_cells, cell + 1); }
  int64_t key_end(int64_t cell) const { return keys.begin + cell_begin(keys.size(), key_cells, cell + 1); }
};

// A slice of the looked-at rows and the cell rows it touches.
struct Slice {
  int64_t begin, end;            // indices into Grid::looked
  int64_t cell_begin, cell_end;  // cell rows
};

std::vector<Slice> slices_of(const Grid& grid) {
  std::vector<Slice> slices;
  const int64_t count = static_cast<int64_t>(grid.looked.size());
  int64_t cell = 0;
  for (int64_t begin = 0; begin < count; begin += kSliceRows) {
    Slice slice{begin, std::min(begin + kSliceRows, count), 0, 0};
    while (grid.row_end(cell) <= grid.looked[static_cast<size_t>(slice.begin)]) ++cell;
    slice.cell_begin = cell;
    while (grid.row_end(cell) <= grid.looked[static_cast<size_t>(slice.end - 1)]) ++cell;
    slice.cell_end = cell + 1;
    slices.push_back(slice);
  }
  return slices;
}

// Groups of neighbouring cell columns of about a piece of keys each: [begin, end) of cells.
std::vector<Range> column_groups(const Grid& grid) {
  std::vector<Range> groups;
  for (int64_t begin = 0; begin < grid.key_cells;) {
    const int64_t first_key = begin == 0 ? grid.keys.begin : grid.key_end(begin - 1);
    int64_t end = begin + 1;
    while (end < grid.key_cells && grid.key_end(end) - first_key <= kPieceKeys) ++end;
    groups.push_back({begin, end});
    begin = end;
  }
  return groups;
}

// Folds rows of weights column by column.
class ColumnFold {
 public:
  explicit ColumnFold(Pool pool) : pool_(pool), max_(kPieceKeys), sum_(kPieceKeys), count_(kPieceKeys) {}

  void clear() {
    std::fill(max_.begin(), max_.end(), -1.0f);
    std::fill(sum_.begin(), sum_.end(), 0.0);
    std::fill(count_.begin(), count_.end(), 0);
  }
  void add(const float* weights, int64_t count) {
    if (pool_ == Pool::kMax) {
      float* __restrict max = max_.data();
      for (int64_t j = 0; j < count; ++j) max[j] = weights[j] > max[j] ? weights[j] : max[j];
      return;
    }
    double* __restrict sum = sum_.data();
    int32_t* __restrict seen = count_.data();
    for (int64_t j = 0; j < count; ++j) sum[j] += weights[j] >= 0 ? static_cast<double>(weights[j]) : 0.0;
    for (int64_t j = 0; j < count; ++j) seen[j] += weights[j] >= 0 ? 1 : 0;
  }
  Cell cell(int64_t begin, int64_t end) const {
    Cell out;
    for (int64_t j = begin; j < end; ++j) {
      const size_t at = static_cast<size_t>(j);
      out.merge({max_[at], sum_[at], count_[at]});
    }
    return out;
  }

 private:
  Pool pool_;
  std::vector<float> max_;
  std::vector<double> sum_;
  std::vector<int32_t> count_;
};

// One task: a slice of rows × a group of cell columns. Cells are [cell rows of the slice, cell columns of the group].
class TilePooling {
 public:
  TilePooling(const Grid& grid, const Slice& slice, Range columns)
      : grid_(grid),
        slice_(slice),
        columns_(columns),
        fold_(grid.request.pool),
        weights_(kBlockRows * kPieceKeys),
        cells_(static_cast<size_t>((slice.cell_end - slice.cell_begin) * columns.size())) {}

  std::vector<Cell> run() {
    const int64_t begin = columns_.begin == 0 ? grid_.keys.begin : grid_.key_end(columns_.begin - 1);
    const int64_t end = grid_.key_end(columns_.end - 1);
    for (int64_t key = begin; key < end; key += kPieceKeys) take_piece({key, std::min(key + kPieceKeys, end)});
    return std::move(cells_);
  }

 private:
  void take_piece(Range keys) {
    fold_.clear();
    int64_t cell = slice_.cell_begin;
    for (int64_t begin = slice_.begin; begin < slice_.end; begin += kBlockRows) {
      const int64_t count = std::min(kBlockRows, slice_.end - begin);
      const int64_t* rows = grid_.looked.data() + begin;
      backend().weights({.record = grid_.record,
                         .batch = grid_.batch,
                         .head = grid_.head,
                         .rows = rows,
                         .row_count = count,
                         .keys = keys,
                         .quantity = WeightsCall::Quantity::kWeightOrNaN,
                         .out = weights_.data(),
                         .out_stride = kPieceKeys});
      for (int64_t r = 0; r < count; ++r) {
        while (grid_.row_end(cell) <= rows[r]) flush(cell++, keys);
        float* weights = weights_.data() + r * kPieceKeys;
        apply_factors(grid_.request, rows[r] - grid_.rows.begin, keys, weights);
        fold_.add(weights, keys.size());
      }
    }
    flush(cell, keys);
  }

  void flush(int64_t cell_row, Range keys) {
    Cell* row = cells_.data() + (cell_row - slice_.cell_begin) * columns_.size();
    int64_t begin = keys.begin;
    for (int64_t column = columns_.begin; column < columns_.end && begin < keys.end; ++column) {
      const int64_t end = std::min(grid_.key_end(column), keys.end);
      if (end <= begin) continue;
      row[column - columns_.begin].merge(fold_.cell(begin - keys.begin, end - keys.begin));
      begin = end;
    }
    fold_.clear();
  }

  const Grid& grid_;
  const Slice& slice_;
  const Range columns_;
  ColumnFold fold_;
  std::vector<float> weights_;  // [row of the block, key of the piece]
  std::vector<Cell> cells_;
};

Tensor pooled(const Grid& grid, const LookOptions& options) {
  const std::vector<Slice> slices = slices_of(grid);
  const std::vector<Range> groups = column_groups(grid);
  const int64_t tasks = static_cast<int64_t>(slices.size() * groups.size()), group_count = static_cast<int64_t>(groups.size());
  std::vector<std::vector<Cell>> parts(static_cast<size_t>(tasks));
  LookProgress progress(options, tasks);
  parallel_for(tasks, [&](int64_t task, int thread) {
    progress.before_task();
    parts[static_cast<size_t>(task)] =
        TilePooling(grid, slices[static_cast<size_t>(task / group_count)], groups[static_cast<size_t>(task % group_count)]).run();
    progress.after_task(thread);
  });
  std::vector<Cell> cells(static_cast<size_t>(grid.row_cells * grid.key_cells));  // [cell row, cell column]
  for (int64_t task = 0; task < tasks; ++task) {
    const Slice& slice = slices[static_cast<size_t>(task / group_count)];
    const Range columns = groups[static_cast<size_t>(task % group_count)];
    const Cell* part = parts[static_cast<size_t>(task)].data();
    for (int64_t row = slice.cell_begin; row < slice.cell_end; ++row) {
      for (int64_t column = columns.begin; column < columns.end; ++column) {
        cells[static_cast<size_t>(row * grid.key_cells + column)].merge(*part++);
      }
    }
  }
  Tensor out = Tensor::empty({grid.row_cells, grid.key_cells});
  float* values = out.mutable_data<float>();
  const Pool pool = grid.request.pool;
  for (const Cell& cell : cells) {
    const bool seen = pool == Pool::kMax ? cell.max >= 0 : cell.count > 0;
    *values++ = !seen ? kNaN : pool == Pool::kMax ? cell.max : static_cast<float>(cell.sum / static_cast<double>(cell.count));
  }
  return out;
}

// One cell a weight, in strips so that a long look can be cancelled.
Tensor weights_one_by_one(const AttentionRecord& record, const TileRequest& request, int64_t batch, int64_t head, Range rows,
                          const LookOptions& options) {
  const int64_t keys = request.keys.size();
  Tensor out = Tensor::empty({rows.size(), keys});
  if (out.numel() == 0) return out;
  const std::vector<int64_t> all = sampled(rows, 0, 0);
  const int64_t strip = std::max(kBlockRows, kStripWeights / keys / kBlockRows * kBlockRows);
  const int64_t strips = (rows.size() + strip - 1) / strip;
  float* values = out.mutable_data<float>();
  LookProgress progress(options, strips);
  for (int64_t begin = 0; begin < rows.size(); begin += strip) {
    progress.before_task();
    backend().weights({.record = record,
                       .batch = batch,
                       .head = head,
                       .rows = all.data() + begin,
                       .row_count = std::min(strip, rows.size() - begin),
                       .keys = request.keys,
                       .quantity = WeightsCall::Quantity::kWeightOrNaN,
                       .out = values + begin * keys,
                       .out_stride = keys});
    progress.after_task(0);
  }
  for (int64_t row = 0; row < rows.size(); ++row) apply_factors(request, row, request.keys, values + row * keys);
  return out;
}

void check_factors(const char* name, const std::vector<float>& factors, int64_t count) {
  if (factors.empty()) return;
  if (static_cast<int64_t>(factors.size()) != count) {
    fail(ErrorCode::kInvalidArgument, "map: a tile's {} hold {} values; expected {}, or none", name, factors.size(), count);
  }
  for (const float factor : factors) {
    if (factor < 0)
      fail(ErrorCode::kInvalidArgument, "map: a tile's {} hold {}; expected numbers that are not negative, or NaN", name, factor);
  }
}

}  // namespace

std::vector<Weighted> MapRow::top_k(int64_t count) const {
  std::vector<int64_t> order;
  order.reserve(scores_.size());
  constexpr float kHidden = -std::numeric_limits<float>::infinity();
  for (size_t j = 0; j < scores_.size(); ++j) {
    if (scores_[j] > kHidden) order.push_back(static_cast<int64_t>(j));  // hidden and NaN are in no order
  }
  const auto heavier = [&](int64_t a, int64_t b) {
    const float left = scores_[static_cast<size_t>(a)], right = scores_[static_cast<size_t>(b)];
    return left > right || (left == right && a < b);
  };
  const int64_t kept = std::clamp<int64_t>(count, 0, static_cast<int64_t>(order.size()));
  std::partial_sort(order.begin(), order.begin() + kept, order.end(), heavier);
  std::vector<Weighted> top;
  top.reserve(static_cast<size_t>(kept));
  for (int64_t k = 0; k < kept; ++k) {
    const size_t j = static_cast<size_t>(order[static_cast<size_t>(k)]);
    top.push_back({static_cast<int64_t>(j), scores_[j], weights_[j]});
  }
  return top;
}

MapHead::MapHead(std::shared_ptr<const AttentionRecord> record, int64_t batch, int64_t head)
    : record_(std::move(record)), batch_(batch), head_(head) {}

MapRow MapHead::row(int64_t query) const {
  check_look(*record_);
  const Range rows = rows_of(*record_, {query, query + 1});
  const int64_t keys = key_length(record_->keys);
  MapRow out;
  out.weights_.resize(static_cast<size_t>(keys));
  out.scores_.resize(static_cast<size_t>(keys));
  if (keys == 0) return out;
  WeightsCall call{.record = *record_,
                   .batch = batch_,
                   .head = head_,
                   .rows = &rows.begin,
                   .row_count = 1,
                   .keys = {0, keys},
                   .quantity = WeightsCall::Quantity::kWeight,
                   .out = out.weights_.data(),
                   .out_stride = keys};
  backend().weights(call);
  call.quantity = WeightsCall::Quantity::kScore2;
  call.out = out.scores_.data();
  backend().weights(call);
  for (float& score : out.scores_) score *= 0.69314718f;  // base 2 → natural; ln 2
  return out;
}

std::vector<float> MapHead::column(int64_t key, Range queries) const {
  check_look(*record_);
  check_range("keys", {key, key + 1}, key_length(record_->keys));
  const std::vector<int64_t> rows = sampled(rows_of(*record_, queries), 0, 0);
  std::vector<float> out(rows.size());
  if (rows.empty()) return out;
  backend().weights({.record = *record_,
                     .batch = batch_,
                     .head = head_,
                     .rows = rows.data(),
                     .row_count = static_cast<int64_t>(rows.size()),
                     .keys = {key, key + 1},
                     .quantity = WeightsCall::Quantity::kWeight,
                     .out = out.data(),
                     .out_stride = 1});
  return out;
}

Tile MapHead::tile(const TileRequest& request, const LookOptions& options) const {
  check_look(*record_);
  check_range("keys", request.keys, key_length(record_->keys));
  const Range rows = rows_of(*record_, request.queries);
  check_factors("key_factors", request.key_factors, request.keys.size());
  check_factors("row_factors", request.row_factors, request.queries.size());
  const auto [row_cells, key_cells] = request.cells;
  if (row_cells == 0 && key_cells == 0) return {weights_one_by_one(*record_, request, batch_, head_, rows, options), true};
  if (row_cells <= 0 || key_cells <= 0) {
    fail(ErrorCode::kInvalidArgument, "map: a tile of {} × {} cells; expected two counts above 0, or {{0, 0}} for one cell a weight",
         row_cells, key_cells);
  }
  const Grid grid{
      *record_, request, batch_, head_, rows, request.keys, row_cells, key_cells, sampled(rows, options.sampled_rows, row_cells)};
  return {pooled(grid, options), static_cast<int64_t>(grid.looked.size()) == rows.size()};
}

}  // namespace clearhead
