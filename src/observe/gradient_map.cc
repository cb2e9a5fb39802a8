// GradientMap, computed over the blocks of map_values.h, and the products of an AttentionMap with a vector.
#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/registry.h"
#include "base/format.h"
#include "observe/map_look.h"
#include "observe/map_values.h"

namespace clearhead {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

void check_head(const AttentionRecord& record, int64_t batch, int64_t head) {
  const AttentionShape shape = record.shape();
  if (batch < 0 || batch >= shape.batch)
    fail(ErrorCode::kInvalidArgument, "map: sequence {} is out of range: the batch has {}, counted from 0", batch, shape.batch);
  if (head < 0 || head >= shape.heads)
    fail(ErrorCode::kInvalidArgument, "map: head {} is out of range: there are {} heads, counted from 0", head, shape.heads);
}

// Pools signed values into cells, row by row: the value of largest magnitude, and the mean.
class SignedCells {
 public:
  explicit SignedCells(const CellGrid& grid)
      : grid_(grid), largest_(static_cast<size_t>(grid.cells[0] * grid.cells[1]), kNaN), sum_(largest_.size()), count_(largest_.size()) {}

  void take(int64_t row, Range keys, const float* values) {
    const int64_t first = grid_.row_of(row) * grid_.cells[1];
    for (int64_t key = keys.begin; key < keys.end; ++key) {
      const float value = values[key - keys.begin];
      if (std::isnan(value)) continue;
      const auto cell = static_cast<size_t>(first + grid_.column_of(key));
      if (std::isnan(largest_[cell]) || std::abs(value) > std::abs(largest_[cell])) largest_[cell] = value;
      sum_[cell] += static_cast<double>(value);
      count_[cell] += 1;
    }
  }
  Tile tile(bool exact) const {
    std::vector<float> mean(sum_.size(), kNaN);
    for (size_t cell = 0; cell < mean.size(); ++cell) {
      if (count_[cell] > 0) mean[cell] = static_cast<float>(sum_[cell] / static_cast<double>(count_[cell]));
    }
    const Shape shape{grid_.cells[0], grid_.cells[1]};
    return {Tensor::from(largest_, shape), Tensor::from(mean, shape), exact};
  }

 private:
  CellGrid grid_;
  std::vector<float> largest_;
  std::vector<double> sum_;
  std::vector<int64_t> count_;
};

void multiply_factors(const TileRequest& request, int64_t row, Range keys, float* values) {
  const float of_row = request.row_factors.empty() ? 1 : request.row_factors[static_cast<size_t>(row)];
  for (int64_t key = keys.begin; key < keys.end; ++key) {
    const float of_key = request.key_factors.empty() ? 1 : request.key_factors[static_cast<size_t>(key - request.keys.begin)];
    values[key - keys.begin] *= of_row * of_key;
  }
}

}  // namespace

GradientMap::GradientMap(AttentionRecord record, OutputGradient gradient, GradientLook look)
    : record_(std::make_shared<const AttentionRecord>(std::move(record))), gradient_(std::move(gradient)), look_(look) {
  const AttentionShape shape = record_->shape();
  const Tensor &d_out = gradient_.d_out, &values = gradient_.values;
  const bool fits = d_out.rank() == 4 && values.rank() == 4 && d_out.size(0) == shape.batch && d_out.size(1) == shape.heads &&
                    d_out.size(2) == record_->rows_kept() && values.size(0) == shape.batch && values.size(1) == key_heads(record_->keys) &&
                    values.size(2) == shape.keys && values.size(3) == d_out.size(3);
  if (!fits) {
    fail(ErrorCode::kShape,
         "map: d_out {} and values {} of a record of {} heads, {} rows and {} keys; expected [{}, {}, {}, d_v] and [{}, {}, {}, d_v]",
         to_string(d_out.shape()), to_string(values.shape()), shape.heads, record_->rows_kept(), shape.keys, shape.batch, shape.heads,
         record_->rows_kept(), shape.batch, key_heads(record_->keys), shape.keys);
  }
}

GradientMap GradientMap::with(GradientLook look) const {
  GradientMap map = *this;
  map.look_ = look;
  return map;
}

std::vector<float> GradientMap::row(int64_t batch, int64_t head, int64_t query) const {
  check_look(*record_);
  check_head(*record_, batch, head);
  const Range rows = rows_of(*record_, {query, query + 1});
  const int64_t keys = key_length(record_->keys);
  std::vector<float> out(static_cast<size_t>(keys));
  MapValues{.record = *record_, .gradient = &gradient_, .look = look_, .batch = batch, .head = head}.fill(&rows.begin, 1, {0, keys},
                                                                                                          out.data());
  return out;
}

std::vector<float> GradientMap::column(int64_t batch, int64_t head, int64_t key, Range queries) const {
  check_look(*record_);
  check_head(*record_, batch, head);
  check_range("keys", {key, key + 1}, key_length(record_->keys));
  const std::vector<int64_t> rows = every(rows_of(*record_, queries));
  std::vector<float> out(rows.size());
  MapValues{.record = *record_, .gradient = &gradient_, .look = look_, .batch = batch, .head = head}.fill(
      rows.data(), static_cast<int64_t>(rows.size()), {key, key + 1}, out.data());
  return out;
}

Tile GradientMap::tile(int64_t batch, int64_t head, const TileRequest& request, const LookOptions& options) const {
  check_look(*record_);
  check_head(*record_, batch, head);
  check_range("keys", request.keys, key_length(record_->keys));
  const Range rows = rows_of(*record_, request.queries);
  const CellGrid grid = grid_of(request, rows);
  const std::vector<int64_t> looked = sampled(rows, options.sampled_rows, grid);
  const MapValues values{.record = *record_, .gradient = &gradient_, .look = look_, .batch = batch, .head = head};
  SignedCells cells(grid);
  std::vector<float> block(static_cast<size_t>(kBlockRows * std::min(kBlockKeys, request.keys.size())));
  const auto count = static_cast<int64_t>(looked.size());
  LookProgress progress(options, (count + kBlockRows - 1) / kBlockRows);
  for (int64_t begin = 0; begin < count; begin += kBlockRows) {
    progress.before_task();
    const int64_t end = std::min(count, begin + kBlockRows);
    for (int64_t key = request.keys.begin; key < request.keys.end; key += kBlockKeys) {
      const Range keys{key, std::min(request.keys.end, key + kBlockKeys)};
      values.fill(looked.data() + begin, end - begin, keys, block.data(), /*marks_hidden=*/true);
      for (int64_t at = begin; at < end; ++at) {
        float* of_row = block.data() + (at - begin) * keys.size();
        multiply_factors(request, looked[static_cast<size_t>(at)] - rows.begin, keys, of_row);
        cells.take(looked[static_cast<size_t>(at)], keys, of_row);
      }
    }
    progress.after_task(0);
  }
  return cells.tile(static_cast<int64_t>(looked.size()) == rows.size());
}

Tensor GradientMap::transposed_times(const Tensor& r, const LookOptions& options) const {
  return clearhead::transposed_times({.record = *record_, .gradient = &gradient_, .look = look_}, r, options);
}

Tensor GradientMap::times(const Tensor& r, const LookOptions& options) const {
  return clearhead::times({.record = *record_, .gradient = &gradient_, .look = look_}, r, options);
}

Tensor AttentionMap::times(const Tensor& r, const LookOptions& options) const {
  return clearhead::times({.record = *record_, .is_after = is_after_, .precision = precision_}, r, options);
}

// A sweep that sums the weights of each key, with row i multiplied by r_i.
Tensor AttentionMap::transposed_times(const Tensor& r, const LookOptions& options) const {
  check_look(*record_);
  const AttentionShape lengths = shape();
  check_vector(r, lengths.batch, record_->rows_kept(), "row");
  const Tensor factors = r.contiguous();
  const ReductionRequest request{received};
  const CellGrid grid = grid_over(*record_, {0, 0});
  const std::vector<int64_t> rows = every({0, record_->rows_kept()});
  Tensor out = Tensor::empty({lengths.batch, lengths.heads, lengths.keys});
  for (int64_t batch = 0; batch < lengths.batch; ++batch) {
    const ReductionResult swept =
        backend().sweep({.record = *record_,
                         .request = request,
                         .rows = rows,
                         .grid = grid,
                         .row_factors = {factors.data<float>() + batch * record_->rows_kept(), static_cast<size_t>(record_->rows_kept())},
                         .batches = {batch, batch + 1},
                         .after = is_after_,
                         .precision = precision_,
                         .cancel = options.cancel,
                         .progress = options.progress});
    const Tensor& found = swept.received;
    std::copy_n(found.data<float>(), found.numel(), out.mutable_data<float>() + batch * lengths.heads * lengths.keys);
  }
  return out;
}

}  // namespace clearhead
