// Statistics of attention maps over lists, one weight at a time. The cost is proportional to the number of listed pairs.
// Included once per target.
#if defined(CLEARHEAD_CPU_INSPECT_SWEEP_GATHER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_INSPECT_SWEEP_GATHER_INL_H_
#undef CLEARHEAD_CPU_INSPECT_SWEEP_GATHER_INL_H_
#else
#define CLEARHEAD_CPU_INSPECT_SWEEP_GATHER_INL_H_
#endif

#include <algorithm>
#include <cmath>

#include "backends/cpu/forward/gather-inl.h"
#include "backends/cpu/inspect/sweep_plan.h"
#include "backends/cpu/score/row_shift.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// Adds the listed weights of one row to a strip's sums.
class ListedSweep {
 public:
  ListedSweep(const SweepPlan& plan, int64_t map, const ScoreView& view, StripSums& sums)
      : plan_(plan), map_(map), view_(view), sums_(sums), memory_(view, 0) {}

  /// Writes the requested statistics of row `index` of the call, and adds to the strip's sums. Returns −Σ P log₂P over the
  /// row's keys.
  double take_row(int64_t index) {
    const int64_t row = plan_.call.rows[static_cast<size_t>(index)];
    const RowShift shift = row_shift(plan_.call.record, plan_.batch_of(map_), plan_.head_of(map_), row);
    ListedRow keys(view_, row, memory_.q);
    position_ = view_.position_of(keys.query);
    query_ = keys.query;
    row_ = row;
    surprise_ = distance_ = 0;
    matched_.assign(static_cast<size_t>(plan_.matches), 0);
    top_.clear();
    while (keys.next(memory_.listed)) {
      score_listed(keys, memory_.copies, memory_.listed);
      take_keys(memory_.listed, shift);
    }
    if (plan_.distance) plan_.distance_row(map_)[index] = static_cast<float>(distance_);
    for (int64_t match = 0; match < plan_.matches; ++match) {
      plan_.match_row(match, map_)[index] = static_cast<float>(matched_[static_cast<size_t>(match)]);
    }
    for (size_t place = 0; place < top_.size(); ++place) {
      plan_.top_keys_of(map_, index)[place] = top_[place].key;
      plan_.top_weights_of(map_, index)[place] = top_[place].weight;
    }
    return surprise_;
  }

 private:
  struct TopKey {
    float score, weight;
    int32_t key;
  };
  // Keys are visited in ascending order, so among equal scores the earlier key stays first.
  void rank(const TopKey& candidate) {
    const bool full = static_cast<int64_t>(top_.size()) == plan_.top;
    if (!(candidate.score > (full ? top_.back().score : kVisible))) return;
    if (full) top_.pop_back();
    const auto below = [](float score, const TopKey& other) { return score > other.score; };
    top_.insert(std::upper_bound(top_.begin(), top_.end(), candidate.score, below), candidate);
  }

  void take_keys(const ListedKeys& listed, const RowShift& shift) {
    const F32 d;
    alignas(64) float weights[kListed + kLanes];
    for (int64_t i = 0; i < listed.count; i += kLanes) {
      hn::Store(exp2_shifted(hn::Load(d, listed.score + i), hn::Set(d, shift.m)) * hn::Set(d, shift.inverse), d, weights + i);
    }
    for (int64_t i = 0; i < listed.count; ++i) {
      const int64_t key = listed.key[i], before = position_ - key;
      const double weight = static_cast<double>(weights[i]);
      if (weights[i] != 0) surprise_ -= weight * (static_cast<double>(listed.score[i]) - static_cast<double>(shift.m) - shift.log_rest);
      distance_ += weight * static_cast<double>(std::abs(before));
      if (plan_.received) sums_.received[static_cast<size_t>(key)] += weights[i] * plan_.row_factor(row_);
      if (plan_.offsets) add_offset(before, weights[i]);
      for (int64_t match = 0; match < plan_.matches; ++match) {
        const auto tag = static_cast<size_t>(match);
        const bool same = plan_.query_tags[tag][static_cast<size_t>(query_)] == plan_.key_tags[tag][static_cast<size_t>(key)];
        if (same && before != 0) matched_[tag] += weight;
      }
      if (plan_.pooled) pool(key, weights[i]);
      if (plan_.top > 0) rank({listed.score[i], weights[i], listed.key[i]});
    }
  }

  void add_offset(int64_t before, float weight) {
    if (before > plan_.reach) {
      sums_.far_before += static_cast<double>(weight);
    } else if (before < -plan_.reach) {
      sums_.far_after += static_cast<double>(weight);
    } else {
      sums_.window[static_cast<size_t>(before + plan_.reach + SweepPlan::kMargin)] += weight;
    }
  }

  void pool(int64_t key, float weight) {
    if (key < plan_.looked_keys.begin || key >= plan_.looked_keys.end) return;
    const float* factor = plan_.key_factors(key);
    if (factor && std::isnan(*factor)) return;
    weight *= plan_.row_factor(row_) * (factor ? *factor : 1);
    const CellGrid& grid = plan_.call.grid;
    const int64_t cell = (grid.row_of(row_) - sums_.cells.first_row) * grid.cells[1] + grid.column_of(key);
    sums_.cells.max[cell] = std::isnan(weight) ? weight : std::max(sums_.cells.max[cell], weight);
    sums_.cells.sum[cell] += static_cast<double>(weight);
    sums_.cells.count[cell] += 1;
  }

  const SweepPlan& plan_;
  int64_t map_;
  const ScoreView& view_;
  StripSums& sums_;
  ListedMemory memory_;
  int64_t row_ = 0, query_ = 0, position_ = 0;
  double surprise_ = 0, distance_ = 0;
  std::vector<double> matched_;
  std::vector<TopKey> top_;  // best first
};

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
