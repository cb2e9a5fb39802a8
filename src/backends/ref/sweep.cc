// Statistics of whole attention maps, one row at a time, in double. P_ij follows from its score and the record's m and ℓ.
//
// One head of one sequence is one work item and is summed in the order of its rows, so the bits of a result do not
// depend on threads, batch or heads. If only some rows are visited, sums per key and per offset are scaled by
// (rows kept)/(rows visited).
#include "backends/ref/sweep.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numbers>

#include "backends/ref/after.h"
#include "backends/ref/normalise.h"
#include "base/format.h"
#include "base/parallel.h"

namespace clearhead::reference {
namespace {

constexpr double kHidden = -std::numeric_limits<double>::infinity();

// Sums over the map of one head.
struct Sums {
  std::vector<double> received, offsets;       // [key], [2·reach + 1]
  std::vector<double> cell_sum, cell_largest;  // [rows, columns]
  std::vector<int64_t> cell_count;
};

// Data pointers of the result's tensors, taken once.
struct Pointers {
  float *entropy = nullptr, *distance = nullptr, *received = nullptr, *offsets = nullptr, *matches = nullptr, *pooled_max = nullptr,
        *pooled_mean = nullptr, *top_weights = nullptr;
  int32_t* top_keys = nullptr;
};

float* opened(Tensor& tensor, Shape shape) {
  tensor = Tensor::zeros(std::move(shape));
  return tensor.numel() > 0 ? tensor.mutable_data<float>() : nullptr;
}

// The sweep of one head.
class HeadSweep {
 public:
  HeadSweep(const SweepCall& call, const Pointers& to, int64_t batch, int64_t head, int64_t map, int64_t maps)
      : call_(call), record_(call.record), to_(to), batch_(batch), head_(head), map_(map), maps_(maps), keys_(key_length(record_.keys)) {
    sums_.received.assign(static_cast<size_t>(keys_), 0);
    sums_.offsets.assign(static_cast<size_t>(2 * call.request.offset_reach + 1), 0);
    const size_t cells = static_cast<size_t>(call.grid.cells[0] * call.grid.cells[1]);
    sums_.cell_sum.assign(cells, 0);
    sums_.cell_largest.assign(cells, -std::numeric_limits<double>::infinity());
    sums_.cell_count.assign(cells, 0);
    scores_.resize(static_cast<size_t>(keys_));
  }

  void take_row(int64_t index) {
    const int64_t row = call_.rows[static_cast<size_t>(index)], query = record_.first_query + row;
    const RecordedRow recorded = recorded_row(record_, batch_, head_, row, call_.precision);
    const RowOfScores at{record_.spec, record_.q, record_.keys, batch_, head_, row, query, record_.query_length};
    score_row(at, {0, keys_}, scores_.data());
    const int64_t position = record_.position_of(query);
    std::vector<double> matched(call_.request.matches.size(), 0);
    double entropy = 0, distance = 0;
    bool sees_any = false;
    for (int64_t j = 0; j < keys_; ++j) {
      const double score = scores_[static_cast<size_t>(j)];
      if (score == kHidden) continue;
      sees_any = true;
      double weight = weight_of(record_.spec.normaliser, score, j, recorded);
      if (call_.after) weight *= after_of(at, j);
      entropy += surprise(weight);
      distance += weight * static_cast<double>(std::abs(position - j));
      sums_.received[static_cast<size_t>(j)] += weight * row_factor(row);
      const int64_t reach = call_.request.offset_reach;
      sums_.offsets[static_cast<size_t>(std::clamp(j - position, -reach, reach) + reach)] += weight;
      for (size_t t = 0; t < matched.size(); ++t) {
        const Match& match = call_.request.matches[t];
        const int32_t tag = match.query_tags[static_cast<size_t>(query)];
        if (j != position && tag >= 0 && tag == match.key_tags[static_cast<size_t>(j)]) matched[t] += weight;
      }
      if (call_.request.top_k > 0 && !std::isnan(score)) seen_.push_back({static_cast<float>(score * std::numbers::log2e), j, weight});
      if (!sums_.cell_sum.empty() && j >= call_.grid.keys.begin && j < call_.grid.keys.end) pool(row, j, weight);
    }
    write_top(index);
    if (sees_any) entropy += surprise(sink_share(record_.spec, head_, recorded));
    const int64_t looked = static_cast<int64_t>(call_.rows.size());
    if (to_.entropy) to_.entropy[map_ * looked + index] = static_cast<float>(entropy);
    if (to_.distance) to_.distance[map_ * looked + index] = static_cast<float>(distance);
    for (size_t t = 0; t < matched.size() && to_.matches; ++t) {
      to_.matches[(static_cast<int64_t>(t) * maps_ + map_) * looked + index] = static_cast<float>(matched[t]);
    }
  }

  void finish() const {
    const double scale = call_.rows.empty() ? 0 : static_cast<double>(record_.rows_kept()) / static_cast<double>(call_.rows.size());
    for (size_t j = 0; j < sums_.received.size() && to_.received; ++j) {
      to_.received[map_ * keys_ + static_cast<int64_t>(j)] = static_cast<float>(sums_.received[j] * scale);
    }
    const int64_t offsets = static_cast<int64_t>(sums_.offsets.size());
    for (int64_t o = 0; o < offsets && to_.offsets; ++o) {
      to_.offsets[map_ * offsets + o] = static_cast<float>(sums_.offsets[static_cast<size_t>(o)] * scale);
    }
    const int64_t cells = static_cast<int64_t>(sums_.cell_sum.size());
    for (int64_t c = 0; c < cells && to_.pooled_max; ++c) {
      const size_t cell = static_cast<size_t>(c);
      const double count = static_cast<double>(sums_.cell_count[cell]);
      const float nothing = std::numeric_limits<float>::quiet_NaN();
      to_.pooled_max[map_ * cells + c] = count > 0 ? static_cast<float>(sums_.cell_largest[cell]) : nothing;
      to_.pooled_mean[map_ * cells + c] = count > 0 ? static_cast<float>(sums_.cell_sum[cell] / count) : nothing;
    }
  }

 private:
  // −P ln P. Weights of linear attention may lie outside [0, 1]; those do not count.
  double surprise(double weight) const {
    const bool is_linear = std::holds_alternative<LinearAttention>(record_.spec.normaliser);
    return weight == 0 || (is_linear && (weight < 0 || weight > 1)) ? 0 : -weight * std::log(weight);
  }

  // Orders keys by the score in f32 and base 2, as WeightsCall returns it.
  void write_top(int64_t index) {
    std::stable_sort(seen_.begin(), seen_.end(), [](const Seen& a, const Seen& b) { return a.score > b.score; });
    const int64_t wanted = call_.request.top_k, count = std::min(wanted, static_cast<int64_t>(seen_.size()));
    const int64_t first = (map_ * static_cast<int64_t>(call_.rows.size()) + index) * wanted;
    for (int64_t place = 0; place < count; ++place) {
      to_.top_keys[first + place] = static_cast<int32_t>(seen_[static_cast<size_t>(place)].key);
      to_.top_weights[first + place] = static_cast<float>(seen_[static_cast<size_t>(place)].weight);
    }
    seen_.clear();
  }

  double row_factor(int64_t row) const {
    return call_.row_factors.empty() ? 1 : static_cast<double>(call_.row_factors[static_cast<size_t>(row - call_.grid.rows.begin)]);
  }

  void pool(int64_t row, int64_t key, double weight) {
    const CellGrid& grid = call_.grid;
    const size_t cell = static_cast<size_t>(grid.row_of(row) * grid.cells[1] + grid.column_of(key));
    weight *= row_factor(row);
    if (!call_.key_factors.empty()) {
      const float factor = call_.key_factors[static_cast<size_t>(key - grid.keys.begin)];
      if (std::isnan(factor)) return;
      weight *= static_cast<double>(factor);
    }
    sums_.cell_sum[cell] += weight;
    sums_.cell_count[cell] += 1;
    sums_.cell_largest[cell] = std::isnan(weight) ? weight : std::max(sums_.cell_largest[cell], weight);
  }

  struct Seen {
    float score;
    int64_t key;
    double weight;
  };

  const SweepCall& call_;
  const AttentionRecord& record_;
  const Pointers& to_;
  int64_t batch_, head_, map_, maps_, keys_;
  Sums sums_;
  std::vector<double> scores_;
  std::vector<Seen> seen_;  // visible keys of the current row, if top_k > 0
};

Pointers allocate(const SweepCall& call, int64_t batch, int64_t heads, ReductionResult& result) {
  const ReductionRequest& request = call.request;
  const int64_t looked = static_cast<int64_t>(call.rows.size());
  Pointers to;
  for (const Statistic statistic : request.statistics) {
    switch (statistic) {
      case Statistic::kEntropy: to.entropy = opened(result.entropy, {batch, heads, looked}); break;
      case Statistic::kDistance: to.distance = opened(result.distance, {batch, heads, looked}); break;
      case Statistic::kReceived: to.received = opened(result.received, {batch, heads, key_length(call.record.keys)}); break;
      case Statistic::kOffsets: to.offsets = opened(result.offsets, {batch, heads, 2 * request.offset_reach + 1}); break;
    }
  }
  if (!request.matches.empty()) {
    to.matches = opened(result.matches, {static_cast<int64_t>(request.matches.size()), batch, heads, looked});
  }
  if (request.top_k > 0) {
    to.top_weights = opened(result.top_weights, {batch, heads, looked, request.top_k});
    result.top_keys = Tensor::from(std::vector<int32_t>(static_cast<size_t>(result.top_weights.numel()), -1), result.top_weights.shape());
    if (result.top_keys.numel() > 0) to.top_keys = result.top_keys.mutable_data<int32_t>();
  }
  if (!call.grid.empty()) {
    to.pooled_max = opened(result.pooled_max, {batch, heads, call.grid.cells[0], call.grid.cells[1]});
    to.pooled_mean = opened(result.pooled_mean, {batch, heads, call.grid.cells[0], call.grid.cells[1]});
  }
  return to;
}

}  // namespace

ReductionResult sweep(const SweepCall& call) {
  const AttentionRecord& record = call.record;
  const Range batches{call.batches.begin, call.batches.end < 0 ? record.q.size(0) : call.batches.end};
  const Range heads{call.request.heads.begin, call.request.heads.end < 0 ? record.q.size(1) : call.request.heads.end};
  const int64_t maps = batches.size() * heads.size(), looked = static_cast<int64_t>(call.rows.size());
  ReductionResult result;
  result.rows_looked_at = looked;
  result.exact = looked == record.rows_kept();
  const Pointers to = allocate(call, batches.size(), heads.size(), result);
  std::atomic<int64_t> done{0};
  parallel_for(maps, [&](int64_t map, int thread) {
    HeadSweep head(call, to, batches.begin + map / heads.size(), heads.begin + map % heads.size(), map, maps);
    for (int64_t index = 0; index < looked; ++index) {
      if (call.cancel && call.cancel->load(std::memory_order_relaxed)) fail(ErrorCode::kCancelled, "sweep: cancelled");
      head.take_row(index);
      const int64_t finished = ++done;
      if (thread == 0 && call.progress && index % 64 == 63)
        call.progress(static_cast<double>(finished) / static_cast<double>(maps * looked));
    }
    head.finish();
  });
  if (call.progress) call.progress(1);
  return result;
}

}  // namespace clearhead::reference
