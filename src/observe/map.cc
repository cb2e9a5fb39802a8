// AttentionMap: the mass that rows give to keys, and several statistics in one pass. Heads and tiles: map_head.cc.
//
// Sums are taken in double over slices of rows that depend on the request alone, and are added in slice order, so results have
// the same bits for any number of threads.
#include "clearhead/map.h"

#include <algorithm>

#include "backends/registry.h"
#include "base/format.h"
#include "base/parallel.h"
#include "observe/map_look.h"

namespace clearhead {
namespace {

constexpr int64_t kSliceRows = 96;    // two query tiles of the fast kernel
constexpr int64_t kPieceKeys = 1024;  // a slice's weights for this many keys (384 KiB) stay in L2

// The sum of `count` weights, in eight independent chains so that latency does not bound it.
double sum_of(const float* values, int64_t count) {
  double chains[8] = {};
  int64_t j = 0;
  for (; j + 8 <= count; j += 8) {
    for (int64_t c = 0; c < 8; ++c) chains[c] += static_cast<double>(values[j + c]);
  }
  for (; j < count; ++j) chains[0] += static_cast<double>(values[j]);
  return ((chains[0] + chains[1]) + (chains[2] + chains[3])) + ((chains[4] + chains[5]) + (chains[6] + chains[7]));
}

// The mass that one slice of rows gives to keys, in one head. `asked` names head, rows and keys, and leaves `out` unset.
double slice_mass(const WeightsCall& asked) {
  const Range keys = asked.keys;
  std::vector<float> weights(static_cast<size_t>(asked.row_count * std::min(kPieceKeys, keys.size())));  // [row, key of the piece]
  double total = 0;
  for (int64_t begin = keys.begin; begin < keys.end; begin += kPieceKeys) {
    const Range piece{begin, std::min(begin + kPieceKeys, keys.end)};
    WeightsCall call = asked;
    call.keys = piece;
    call.out = weights.data();
    call.out_stride = piece.size();
    backend().weights(call);
    total += sum_of(weights.data(), call.row_count * piece.size());
  }
  return total;
}

void check_request(const AttentionRecord& record, const ReductionRequest& request) {
  const AttentionShape shape = record.shape();
  if (request.offset_reach < 0) fail(ErrorCode::kInvalidArgument, "sweep: offset_reach is {}; expected 0 or more", request.offset_reach);
  if (request.top_k < 0) fail(ErrorCode::kInvalidArgument, "sweep: top_k is {}; expected 0 or more", request.top_k);
  const auto [rows, columns] = request.cells;
  if (rows < 0 || columns < 0 || (rows > 0) != (columns > 0)) {
    fail(ErrorCode::kInvalidArgument, "sweep: cells are {{{}, {}}}; expected two counts above 0, or {{0, 0}} for none", rows, columns);
  }
  const bool is_all = request.heads.begin == 0 && request.heads.end == -1;
  if (!is_all) check_range("heads", request.heads, shape.heads);
  const int64_t maps = shape.batch * (is_all ? shape.heads : request.heads.size());
  check_size("cells", {maps, rows, columns, 2});
  check_size("top_k keys of every row", {maps, record.rows_kept(), request.top_k, 2});
  check_size("offsets up to offset_reach", {maps, request.offset_reach, 2});
  for (size_t m = 0; m < request.matches.size(); ++m) {
    const Match& match = request.matches[m];
    if (static_cast<int64_t>(match.query_tags.size()) != shape.queries || static_cast<int64_t>(match.key_tags.size()) != shape.keys) {
      fail(ErrorCode::kInvalidArgument, "sweep: match {} has {} query tags and {} key tags; expected {} and {}, one for each query and key",
           m, match.query_tags.size(), match.key_tags.size(), shape.queries, shape.keys);
    }
  }
}

}  // namespace

AttentionMap::AttentionMap(AttentionRecord record) : record_(std::make_shared<const AttentionRecord>(std::move(record))) {}

AttentionMap AttentionMap::after() const {
  AttentionMap map = *this;
  map.is_after_ = true;
  return map;
}

AttentionMap AttentionMap::with(LookPrecision precision) const {
  AttentionMap map = *this;
  map.precision_ = precision;
  return map;
}

MapHead AttentionMap::head(int64_t batch, int64_t head) const {
  const AttentionShape lengths = shape();
  if (batch < 0 || batch >= lengths.batch)
    fail(ErrorCode::kInvalidArgument, "map: sequence {} is out of range: the batch has {}, counted from 0", batch, lengths.batch);
  if (head < 0 || head >= lengths.heads)
    fail(ErrorCode::kInvalidArgument, "map: head {} is out of range: there are {} heads, counted from 0", head, lengths.heads);
  return MapHead(record_, batch, head, is_after_, precision_);
}

Tensor AttentionMap::mass(Range rows, Range keys, const LookOptions& options) const {
  check_look(*record_);
  const AttentionShape lengths = shape();
  check_range("keys", keys, lengths.keys);
  const Range looked = rows_of(*record_, rows);
  if (looked.size() == 0) fail(ErrorCode::kInvalidArgument, "map: a mean over rows [{}, {}) needs at least one row", rows.begin, rows.end);
  const std::vector<int64_t> chosen = sampled(looked, options.sampled_rows);
  const int64_t count = static_cast<int64_t>(chosen.size()), slices = (count + kSliceRows - 1) / kSliceRows;
  const int64_t maps = lengths.batch * lengths.heads;
  std::vector<double> partial(static_cast<size_t>(maps * slices));  // [batch·head, slice]
  LookProgress progress(options, maps * slices);
  parallel_for(maps * slices, [&](int64_t task, int thread) {
    progress.before_task();
    const int64_t map = task / slices, begin = task % slices * kSliceRows;
    partial[static_cast<size_t>(task)] = slice_mass({.record = *record_,
                                                     .batch = map / lengths.heads,
                                                     .head = map % lengths.heads,
                                                     .rows = chosen.data() + begin,
                                                     .row_count = std::min(kSliceRows, count - begin),
                                                     .keys = keys,
                                                     .after = is_after_,
                                                     .precision = precision_});
    progress.after_task(thread);
  });
  Tensor out = Tensor::empty({lengths.batch, lengths.heads});
  float* masses = out.mutable_data<float>();
  for (int64_t map = 0; map < maps; ++map) {
    double total = 0;
    for (int64_t slice = 0; slice < slices; ++slice) total += partial[static_cast<size_t>(map * slices + slice)];
    masses[map] = static_cast<float>(total / static_cast<double>(count));
  }
  return out;
}

ReductionResult AttentionMap::reduce(const ReductionRequest& request, const LookOptions& options) const {
  check_look(*record_);
  check_request(*record_, request);
  const CellGrid grid = grid_over(*record_, request.cells);
  const std::vector<int64_t> rows = sampled(grid.rows, options.sampled_rows, grid);
  ReductionResult result = backend().sweep({.record = *record_,
                                            .request = request,
                                            .rows = rows,
                                            .grid = grid,
                                            .after = is_after_,
                                            .precision = precision_,
                                            .cancel = options.cancel,
                                            .progress = options.progress});
  result.rows_looked_at = static_cast<int64_t>(rows.size());
  result.exact = result.rows_looked_at == record_->rows_kept();
  result.queries.reserve(rows.size());
  for (const int64_t row : rows) result.queries.push_back(row + record_->first_query);
  return result;
}

}  // namespace clearhead
