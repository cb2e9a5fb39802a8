// Divides rows into strips, allocates their sums, and adds them in strip order when the last strip of a head has finished.
#include "backends/cpu/inspect/sweep_plan.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "backends/cpu/simd/scratch.h"
#include "base/format.h"

namespace clearhead::cpu {
namespace {

constexpr int64_t kMostStrips = 32;  // bounds the memory: each strip has one sum per key

float* opened(Tensor& tensor, Shape shape) {
  tensor = Tensor::zeros(std::move(shape));
  return tensor.numel() > 0 ? tensor.mutable_data<float>() : nullptr;
}

}  // namespace

SweepPlan::SweepPlan(const SweepCall& sweep, const ReductionChoice& chosen, int64_t rows_of_a_block, WriteCells write_row)
    : call(sweep),
      choice(chosen),
      problem(sweep.record.spec, sweep.record.q, sweep.record.keys, sweep.record.first_query, sweep.record.query_length, chosen.products),
      looked(static_cast<int64_t>(sweep.rows.size())),
      keys(key_length(sweep.record.keys)),
      kept(sweep.record.rows_kept()),
      reach(std::min(sweep.request.offset_reach, std::max(key_length(sweep.record.keys), sweep.record.query_length))),
      block_rows(rows_of_a_block),
      looked_keys(sweep.grid.empty() ? Range{0, keys} : sweep.grid.keys),
      write_row_(write_row),
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
  const ReductionRequest& request = call.request;
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
  // If there are rows, the strips write all cells.
  for (int64_t map = 0; looked == 0 && map < maps; ++map) leave_cell_rows(map, {0, rows});
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
  if (pooled) sums.cells = new_cells(strip);
  return sums;
}

void SweepPlan::finish_strip(int64_t map, int64_t strip, StripSums sums) {
  if (pooled) write_cells(map, strip, sums);
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
  if (pooled) write_shared_cells(map, all);
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

Range SweepPlan::cell_rows_of(int64_t strip) const {
  const Range rows = strip_rows(strip);
  const auto row_of = [&](int64_t index) { return call.grid.row_of(call.rows[static_cast<size_t>(index)]); };
  return {row_of(rows.begin), row_of(rows.end - 1) + 1};
}

CellSums SweepPlan::new_cells(int64_t strip) const {
  const Range rows = cell_rows_of(strip);
  const int64_t room = rows.size() * call.grid.cells[1] + kCellRoom;
  double* const memory = ThreadScratch::cell_sums(3 * room);
  CellSums cells{reinterpret_cast<float*>(memory + 2 * room), memory, memory + room, rows.begin, rows.size()};
  std::fill_n(cells.max, room, kNoWeight);
  std::fill_n(memory, 2 * room, 0.0);
  return cells;
}

void SweepPlan::write_cells(int64_t map, int64_t strip, StripSums& sums) {
  const CellSums& cells = sums.cells;
  const int64_t columns = call.grid.cells[1], before = strip > 0 ? cell_rows_of(strip - 1).end : 0;
  const int64_t after = strip + 1 < strips ? cell_rows_of(strip + 1).begin : call.grid.cells[0];
  leave_cell_rows(map, {before, cells.first_row});  // cell rows without a selected row
  for (int64_t i = 0; i < cells.rows; ++i) {
    const float* const max = cells.max + i * columns;
    const double *const sum = cells.sum + i * columns, *const count = cells.count + i * columns;
    if (const int64_t row = cells.first_row + i; row < before || row == after) {
      sums.shared.push_back({row, {max, max + columns}, {sum, sum + columns}, {count, count + columns}});
    } else {
      write_cell_row(map, row, max, sum, count);
    }
  }
  if (strip + 1 == strips) leave_cell_rows(map, {cells.first_row + cells.rows, after});
}

// Adds the shared cell rows of neighbouring strips, in strip order, and writes them.
void SweepPlan::write_shared_cells(int64_t map, std::vector<StripSums>& all) {
  SharedCellRow* whole = nullptr;
  const auto write = [&] {
    if (whole) write_cell_row(map, whole->row, whole->max.data(), whole->sum.data(), whole->count.data());
  };
  for (StripSums& strip : all) {
    for (SharedCellRow& part : strip.shared) {
      if (!whole || part.row != whole->row) {
        write();
        whole = &part;
        continue;
      }
      for (size_t c = 0; c < part.max.size(); ++c) {
        whole->max[c] = std::max(whole->max[c], part.max[c]);
        whole->sum[c] += part.sum[c];
        whole->count[c] += part.count[c];
      }
    }
  }
  write();
}

void SweepPlan::write_cell_row(int64_t map, int64_t row, const float* max, const double* sum, const double* count) {
  const auto [rows, columns] = call.grid.cells;
  const int64_t at = (map * rows + row) * columns;
  write_row_(max, sum, count, columns, max_ + at, mean_ + at);
}

// Fills cell rows to which nothing was added with NaN.
void SweepPlan::leave_cell_rows(int64_t map, Range of) {
  const auto [rows, columns] = call.grid.cells;
  for (float* to : {max_, mean_}) {
    std::fill_n(to + (map * rows + of.begin) * columns, std::max<int64_t>(0, of.size()) * columns, std::numeric_limits<float>::quiet_NaN());
  }
}

void SweepPlan::check_cancelled() const {
  if (call.cancel && call.cancel->load(std::memory_order_relaxed)) fail(ErrorCode::kCancelled, "sweep: cancelled");
}

void SweepPlan::report(int64_t rows, int thread) {
  const int64_t done = rows_done_ += rows;
  if (thread == 0 && call.progress) call.progress(static_cast<double>(done) / static_cast<double>(maps * looked));
}

ReductionResult SweepPlan::take_result() {
  result_.rows_looked_at = looked;
  result_.exact = looked == kept;
  if (call.progress) call.progress(1);
  return std::move(result_);
}

}  // namespace clearhead::cpu
