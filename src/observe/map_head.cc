// MapHead: a row, a column, and a tile of weights, one by one or pooled.
#include <algorithm>
#include <limits>
#include <numbers>

#include "backends/registry.h"
#include "base/format.h"
#include "clearhead/map.h"
#include "observe/map_look.h"

namespace clearhead {
namespace {

constexpr int64_t kBlockRows = 48;          // one query tile of the fast kernel
constexpr int64_t kStripWeights = 1 << 22;  // weights between two checks of the cancel token
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Multiplies one row of a tile's weights by its factors. `row` counts from the tile's first query.
void apply_factors(const TileRequest& request, int64_t row, float* weights) {
  const int64_t keys = request.keys.size();
  if (!request.row_factors.empty()) {
    const float factor = request.row_factors[static_cast<size_t>(row)];
    for (int64_t j = 0; j < keys; ++j) weights[j] *= factor;
  }
  if (!request.key_factors.empty()) {
    for (int64_t j = 0; j < keys; ++j) weights[j] *= request.key_factors[static_cast<size_t>(j)];
  }
}

// One head of one sequence; weights before or after the description's `after`, exact or as the call used them.
struct Place {
  int64_t batch, head;
  bool is_after;
  LookPrecision precision;
};

// Computes all cells of a tile in one pass over its pairs, with the backend's sweep.
Tile pooled(const AttentionRecord& record, const Place& at, const TileRequest& request, const CellGrid& grid, const LookOptions& options) {
  if (grid.rows.size() == 0 || grid.keys.size() == 0) {
    const Tensor nothing =
        Tensor::from(std::vector<float>(static_cast<size_t>(grid.cells[0] * grid.cells[1]), kNaN), {grid.cells[0], grid.cells[1]});
    return {nothing, nothing, true};
  }
  ReductionRequest sweep;
  sweep.heads = {at.head, at.head + 1};
  const std::vector<int64_t> rows = sampled(grid.rows, options.sampled_rows, grid);
  const ReductionResult swept = backend().sweep({.record = record,
                                                 .request = sweep,
                                                 .rows = rows,
                                                 .grid = grid,
                                                 .row_factors = request.row_factors,
                                                 .key_factors = request.key_factors,
                                                 .batches = {at.batch, at.batch + 1},
                                                 .after = at.is_after,
                                                 .precision = at.precision,
                                                 .cancel = options.cancel,
                                                 .progress = options.progress});
  const Shape cells{grid.cells[0], grid.cells[1]};
  return {swept.pooled_max.reshape(cells), swept.pooled_mean.reshape(cells), static_cast<int64_t>(rows.size()) == grid.rows.size()};
}

// One cell per weight, computed in strips so that a long look can be cancelled.
Tensor weights_one_by_one(const AttentionRecord& record, const TileRequest& request, const Place& at, Range rows,
                          const LookOptions& options) {
  const int64_t keys = request.keys.size();
  Tensor out = Tensor::empty({rows.size(), keys});
  if (out.numel() == 0) return out;
  const std::vector<int64_t> all = every(rows);
  const int64_t strip = std::max(kBlockRows, kStripWeights / keys / kBlockRows * kBlockRows);
  const int64_t strips = (rows.size() + strip - 1) / strip;
  float* values = out.mutable_data<float>();
  LookProgress progress(options, strips);
  for (int64_t begin = 0; begin < rows.size(); begin += strip) {
    progress.before_task();
    backend().weights({.record = record,
                       .batch = at.batch,
                       .head = at.head,
                       .rows = all.data() + begin,
                       .row_count = std::min(strip, rows.size() - begin),
                       .keys = request.keys,
                       .quantity = WeightsCall::Quantity::kWeightOrNaN,
                       .after = at.is_after,
                       .precision = at.precision,
                       .out = values + begin * keys,
                       .out_stride = keys});
    progress.after_task(0);
  }
  for (int64_t row = 0; row < rows.size(); ++row) apply_factors(request, row, values + row * keys);
  return out;
}

void check_factors(const char* name, const std::vector<float>& factors, int64_t count) {
  if (factors.empty()) return;
  if (static_cast<int64_t>(factors.size()) != count) {
    fail(ErrorCode::kInvalidArgument, "map: a tile's {} hold {} values; expected {}, or none", name, factors.size(), count);
  }
  for (const float factor : factors) {
    if (factor < 0)
      fail(ErrorCode::kInvalidArgument, "map: the {} of a tile contain {}; expected numbers of 0 or more, or NaN", name, factor);
  }
}

}  // namespace

std::vector<Weighted> MapRow::top_k(int64_t count) const {
  std::vector<int64_t> order;
  order.reserve(scores_.size());
  constexpr float kHidden = -std::numeric_limits<float>::infinity();
  for (size_t j = 0; j < scores_.size(); ++j) {
    if (scores_[j] > kHidden) order.push_back(static_cast<int64_t>(j));  // hidden and NaN scores have no rank
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

MapHead::MapHead(std::shared_ptr<const AttentionRecord> record, int64_t batch, int64_t head, bool is_after, LookPrecision precision)
    : record_(std::move(record)), batch_(batch), head_(head), is_after_(is_after), precision_(precision) {}

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
                   .after = is_after_,
                   .precision = precision_,
                   .out = out.weights_.data(),
                   .out_stride = keys};
  backend().weights(call);
  call.quantity = WeightsCall::Quantity::kScore2;
  call.out = out.scores_.data();
  backend().weights(call);
  for (float& score : out.scores_) score *= std::numbers::ln2_v<float>;  // base 2 → natural
  return out;
}

std::vector<float> MapHead::column(int64_t key, Range queries) const {
  check_look(*record_);
  check_range("keys", {key, key + 1}, key_length(record_->keys));
  const std::vector<int64_t> rows = every(rows_of(*record_, queries));
  std::vector<float> out(rows.size());
  if (rows.empty()) return out;
  backend().weights({.record = *record_,
                     .batch = batch_,
                     .head = head_,
                     .rows = rows.data(),
                     .row_count = static_cast<int64_t>(rows.size()),
                     .keys = {key, key + 1},
                     .quantity = WeightsCall::Quantity::kWeight,
                     .after = is_after_,
                     .precision = precision_,
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
  const CellGrid grid = grid_of(request, rows);
  const Place at{batch_, head_, is_after_, precision_};
  if (grid.side == 1) {
    const Tensor weights = weights_one_by_one(*record_, request, at, rows, options);
    return {weights, weights, true};
  }
  return pooled(*record_, at, request, grid, options);
}

}  // namespace clearhead
