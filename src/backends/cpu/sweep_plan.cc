#include "backends/cpu/sweep_plan.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/format.h"

namespace clearhead::cpu {
namespace {

constexpr int64_t kMostStrips = 32;  // a strip holds a sum per key

float* opened(Tensor& tensor, Shape shape) {
  tensor = Tensor::zeros(std::move(shape));
  return tensor.numel() > 0 ? tensor.mutable_data<float>() : nullptr;
}

}  // namespace

SweepPlan::SweepPlan(const SweepCall& sweep, int64_t rows_of_a_block)
    : call(sweep),
      problem(sweep.record.spec, sweep.record.q, sweep.record.keys, sweep.record.first_query, sweep.record.query_length),
      looked(static_cast<int64_t>(sweep.rows.size())),
      keys(key_length(sweep.record.keys)),
      kept(sweep.record.rows_kept()),
      reach(std::min(sweep.request.offset_reach, std::max(key_length(sweep.record.keys), sweep.record.query_length))),
      block_rows(rows_of_a_block),
      looked_keys(sweep.grid.empty() ? Range{0, keys} : sweep.grid.keys),
      batches_(sweep.batches.end < 0 ? Range{0, problem.batch()} : sweep.batches),
      heads_(sweep.request.heads.end < 0 ? Range{0, problem.heads()} : sweep.request.heads) {
  maps = batches_.size() * heads_.size();
  const int64_t blocks = (looked + block_rows - 1) / block_rows;
  blocks_per_strip_ = std::max<int64_t>(1, (blocks + kMostStrips - 1) / kMostStrips);
  strips = (blocks + blocks_per_strip_ - 1) / blocks_per_strip_;
  allocate();
  add_tags();
  sums_.resize(static_cast<size_t>(maps));
  open_strips_ = std::make_unique<std::atomic<int64_t>[]>(static_cast<size_t>(std::max<int64_t>(1, maps)));
  for (int64_t map = 0; map < maps; ++map) {
    sums_[static_cast<size_t>(map)].resize(static_cast<size_t>(strips));
    open_strips_[static_cast<size_t>(map)] = strips;
  }
}

void SweepPlan::allocate() {
  const SweepRequest& request = call.request;
  const int64_t batch = batches_.size(), heads = heads_.size();
  for (const Statistic statistic : request.statistics) {
    switch (statistic) {
      case Statistic::kEntropy:
        entropy = true;
        entropies_ = opened(result_.entropy, {batch, heads, looked});
        break;
      case Statistic::kDistance:
        distance = true;
        distances_ = opened(result_.distance, {batch, heads, looked});
        break;
      case Statistic::kReceived:
        received = true;
        received_ = opened(result_.received, {batch, heads, keys});
        break;
      case Statistic::kOffsets:
        offsets = true;
        offsets_ = opened(result_.offsets, {batch, heads, 2 * request.offset_reach + 1});
        break;
    }
  }
  matches = static_cast<int64_t>(request.matches.size());
  if (matches > 0) matched_ = opened(result_.matches, {matches, batch, heads, looked});
  top = std::min(request.top_k, keys);
  if (request.top_k > 0) {
    top_weights_ = opened(result_.top_weights, {batch, heads, looked, request.top_k});
    result_.top_keys = Tensor::empty(result_.top_weights.shape(), DType::kI32);
    if (result_.top_keys.numel() > 0) top_keys_ = result_.top_keys.mutable_data<int32_t>();
    std::fill_n(top_keys_, result_.top_keys.numel(), -1);
  }
  pooled = !call.grid.empty();
  weighs = entropy || distance || received || offsets || matches > 0 || pooled;
  if (!pooled) return;
  const auto [rows, columns] = call.grid.cells;
  for (int64_t column = 0; column < columns; ++column) column_ends_.push_back(call.grid.key_begin(column + 1));
  if (!call.key_factors.empty()) {
    key_factors_.assign(static_cast<size_t>(looked_keys.size() + 2 * kKeyRoom), 1);
    std::copy(call.key_factors.begin(), call.key_factors.end(), key_factors_.begin() + kKeyRoom);
  }
  for (Tensor* cells : {&result_.pooled_max, &result_.pooled_mean}) *cells = Tensor::empty({batch, heads, rows, columns});
  if (result_.pooled_max.numel() == 0) return;
  max_ = result_.pooled_max.mutable_data<float>();
  mean_ = result_.pooled_mean.mutable_data<float>();
  for (int64_t map = 0; looked == 0 && map < maps; ++map) leave_cell_rows(map, {0, rows});  // else a map's last strip writes all of them
}

void SweepPlan::add_tags() {
  for (const Match& match : call.request.matches) {
    query_tags.push_back(match.query_tags);
    for (int32_t& tag : query_tags.back()) tag = std::max(tag, -1);
    key_tags.push_back(match.key_tags);
    for (int32_t& tag : key_tags.back()) tag = tag < 0 ? -2 : tag;
    key_tags.back().resize(key_tags.back().size() + kKeyRoom, -2);
  }
}

Range SweepPlan::strip_rows(int64_t strip) const {
  const int64_t step = blocks_per_strip_ * block_rows;
  return {strip * step, std::min(looked, (strip + 1) * step)};
}

StripSums SweepPlan::new_sums(int64_t strip) const {
  StripSums sums;
  if (received) sums.received.assign(static_cast<size_t>(keys + kKeyRoom), 0);
  if (offsets) sums.window.assign(static_cast<size_t>(2 * (reach + kMargin) + 1), 0);
  if (pooled) {
    const Range rows = strip_rows(strip);
    sums.first_cell_row = call.grid.row_of(call.rows[static_cast<size_t>(rows.begin)]);
    const int64_t last = call.grid.row_of(call.rows[static_cast<size_t>(rows.end - 1)]);
    const size_t cells = static_cast<size_t>((last + 1 - sums.first_cell_row) * call.grid.cells[1] + kCellRoom);
    sums.cell_max.assign(cells, kNoWeight);
    sums.cell_sum.assign(cells, 0);
    sums.cell_count.assign(cells, 0);
  }
  return sums;
}

void SweepPlan::finish_strip(int64_t map, int64_t strip, StripSums sums) {
  std::vector<StripSums>& all = sums_[static_cast<size_t>(map)];
  all[static_cast<size_t>(strip)] = std::move(sums);
  if (--open_strips_[static_cast<size_t>(map)] > 0) return;
  write_map(map, all);
  all = {};
}

void SweepPlan::write_map(int64_t map, std::vector<StripSums>& all) {
  const double scale = static_cast<double>(kept) / static_cast<double>(looked);
  for (int64_t key = 0; received && key < keys; ++key) {
    double sum = 0;
    for (const StripSums& strip : all) sum += static_cast<double>(strip.received[static_cast<size_t>(key)]);
    received_[map * keys + key] = static_cast<float>(sum * scale);
  }
  if (offsets) write_offsets(map, all, scale);
  if (pooled) write_cells(map, all);
}

void SweepPlan::write_offsets(int64_t map, const std::vector<StripSums>& all, double scale) {
  const int64_t asked = call.request.offset_reach;
  std::vector<double> sums(static_cast<size_t>(2 * asked + 1), 0);
  for (const StripSums& strip : all) {
    for (int64_t at = 0; at < static_cast<int64_t>(strip.window.size()); ++at) {
      const int64_t offset = std::clamp(reach + kMargin - at, -asked, asked);  // j − p
      sums[static_cast<size_t>(offset + asked)] += static_cast<double>(strip.window[static_cast<size_t>(at)]);
    }
    sums.front() += strip.far_before;
    sums.back() += strip.far_after;
  }
  float* out = offsets_ + map * (2 * asked + 1);
  for (const double sum : sums) *out++ = static_cast<float>(sum * scale);
}

// Strips share at most the cell row between them: it is carried along until a strip begins another one.
void SweepPlan::write_cells(int64_t map, std::vector<StripSums>& all) {
  const int64_t columns = call.grid.cells[1];
  int64_t carried = -1, written = 0;
  float* largest = nullptr;
  double *sum = nullptr, *count = nullptr;
  for (StripSums& strip : all) {
    const int64_t strip_rows = (static_cast<int64_t>(strip.cell_max.size()) - kCellRoom) / columns;
    for (int64_t row = 0; row < strip_rows; ++row) {
      float* const row_largest = strip.cell_max.data() + row * columns;
      double *const row_sum = strip.cell_sum.data() + row * columns, *const row_count = strip.cell_count.data() + row * columns;
      if (strip.first_cell_row + row == carried) {
        for (int64_t c = 0; c < columns; ++c) {
          largest[c] = std::max(largest[c], row_largest[c]);
          sum[c] += row_sum[c];
          count[c] += row_count[c];
        }
        continue;
      }
      if (carried >= 0) written = write_cell_row(map, written, carried, largest, sum, count);
      carried = strip.first_cell_row + row;
      largest = row_largest, sum = row_sum, count = row_count;
    }
  }
  if (carried >= 0) written = write_cell_row(map, written, carried, largest, sum, count);
  leave_cell_rows(map, {written, call.grid.cells[0]});
}

// NaN: nothing is there.
void SweepPlan::leave_cell_rows(int64_t map, Range of) {
  const auto [rows, columns] = call.grid.cells;
  for (float* to : {max_, mean_}) {
    std::fill_n(to + (map * rows + of.begin) * columns, std::max<int64_t>(0, of.size()) * columns, std::numeric_limits<float>::quiet_NaN());
  }
}

// Returns the row after it; those from `written` on that are left out hold nothing.
int64_t SweepPlan::write_cell_row(int64_t map, int64_t written, int64_t row, const float* largest, const double* sum, const double* count) {
  constexpr float kNothing = std::numeric_limits<float>::quiet_NaN();
  leave_cell_rows(map, {written, row});
  const auto [rows, columns] = call.grid.cells;
  float *max = max_ + (map * rows + row) * columns, *mean = mean_ + (map * rows + row) * columns;
  for (int64_t c = 0; c < columns; ++c) max[c] = largest[c] > kNoWeight ? largest[c] : kNothing;
  for (int64_t c = 0; c < columns; ++c) mean[c] = static_cast<float>(sum[c] / count[c]);
  for (int64_t c = 0; c < columns; ++c) mean[c] = count[c] > 0 ? mean[c] : kNothing;  // by itself, or no compiler divides several at once
  return row + 1;
}

void SweepPlan::check_cancelled() const {
  if (call.cancel && call.cancel->load(std::memory_order_relaxed)) fail(ErrorCode::kCancelled, "sweep: cancelled");
}

void SweepPlan::report(int64_t rows, int thread) {
  const int64_t done = rows_done_ += rows;
  if (thread == 0 && call.progress) call.progress(static_cast<double>(done) / static_cast<double>(maps * looked));
}

SweepResult SweepPlan::take_result() {
  result_.rows_looked_at = looked;
  result_.exact = looked == kept;
  if (call.progress) call.progress(1);
  return std::move(result_);
}

}  // namespace clearhead::cpu
