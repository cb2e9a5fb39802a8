// Statistics of a block of rows, computed while its weights are in registers. Included once per target.
//
//   p = 2^(s − m)·(1/ℓ)   with the record's own shift, so no maximum is needed. P is stored only if a statistic needs
//                         neighbouring weights.
//   entropy   E += p·(s − L)     in base 2, with L = m + log₂ℓ; −E·ln 2 is the row's entropy
//   distance  D += p·|position − j|
//   received  the vectors of each key are added, then the kRows keys of a group are reduced together: one update of kRows floats
//   offsets   groups beyond the reach (offset_reach) add to two far sums; near groups, as [key][lane], are added along their
//             diagonals
//   matches   M += p where the tags are equal and j ≠ position
//   cells     maxima and sums per lane until the cell column ends; then kLanes columns are transposed together, and their
//             lanes are added to cell rows
//   top       by score (sweep_top-inl.h); if nothing else is requested, no weights are computed
//
// Row sums are f32 within a key tile and double across tiles; cells are f32 within kTilesAdded tiles. Lanes past the last
// query have 1/ℓ = 0.
#if defined(CLEARHEAD_CPU_INSPECT_SWEEP_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_INSPECT_SWEEP_BLOCK_INL_H_
#undef CLEARHEAD_CPU_INSPECT_SWEEP_BLOCK_INL_H_
#else
#define CLEARHEAD_CPU_INSPECT_SWEEP_BLOCK_INL_H_
#endif

#include <algorithm>
#include <cmath>

#include "backends/cpu/inspect/sweep_plan.h"
#include "backends/cpu/inspect/sweep_top-inl.h"
#include "backends/cpu/score/after-inl.h"
#include "backends/cpu/score/score_kernel-inl.h"
#include "backends/cpu/score/weight-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// The lanes of a block that share a cell row.
struct LaneRun {
  int32_t begin, end;
  int64_t cells;  // index of the row's first cell in StripSums::cells
};

// The state of a block. An epilogue of for_each_group.
struct SweepBlock {
  static constexpr int kPad = kLanes;                 // zeros on both sides of a row of `weights`
  static constexpr int kStride = kBlock + 2 * kPad;   // row stride of `weights`
  static constexpr int kWindow = kBlock + kRows - 1;  // number of diagonals of a group
  static constexpr int kTilesAdded = 4;               // key tiles over which a wide cell column is summed in f32

  const SweepPlan* plan = nullptr;
  const QueryBlock* queries = nullptr;
  const AfterView* after = nullptr;  // set if weights are multiplied by dropout and Gaussian factors
  WeightKind kind = WeightKind::kSoftmax;
  // Set if entropy needs the logarithm of each weight, because that is not the score minus L.
  bool by_log = false;
  StripSums* sums = nullptr;
  // One element per lane.
  alignas(64) float m[kBlock], threshold[kBlock], inverse[kBlock], log_sum[kBlock];
  alignas(64) float entropy[kBlock], distance[kBlock];  // sums over the current key tile
  alignas(64) double entropy_total[kBlock], distance_total[kBlock];
  // Slots: the open cell column and the columns waiting to be added to cells, [column][lane]. Unused slots hold kNoWeight
  // and 0.
  alignas(64) float slot_max[kLanes * kBlock], slot_sum[kLanes * kBlock], slot_count[kLanes * kBlock];
  alignas(64) float turned[kBlock * kLanes];  // [lane][column]
  float slot_inside[kLanes];
  bool slot_counted[kLanes];
  alignas(64) float far_before[kLanes], far_after[kLanes];  // sums over the current key tile
  // [key][pad, lane, pad]: the group's weights, for near offsets and for groups that are pooled key by key.
  alignas(64) float weights[kRows * kStride];
  alignas(64) float scores[kRows * kBlock];  // [key][lane]: the group's scores, if visibility must be known
  int32_t* tags = nullptr;                   // [match][kBlock]
  float* matched = nullptr;                  // [match][kBlock]: sums over the current key tile
  double* matched_total = nullptr;           // [match][kBlock]
  TopKeys top;
  // State of the block.
  bool consecutive = false, hides = false;  // hides: mask, segments or biases may hide pairs inside the band
  int64_t first_position = 0, last_position = 0;
  int64_t column = 0, column_end = 0;  // the open cell column and the end of its keys; column_end 0: no column is open
  int slots = 0;                       // number of waiting columns; the open column uses the next slot
  int tiles = 0;                       // number of key tiles that have ended
  int run_count = 0;
  LaneRun runs[kBlock];

  template <int V>
  HWY_INLINE void operator()(Scores<V>& s, int64_t key, int first_vector) {
    const int first = first_vector * kLanes;
    if (top.count > 0) top.follow(s, key, first);
    if (!plan->weighs) return;
    // True if the group must be pooled key by key: the cell column ends inside the group, some of its (query, key) pairs
    // may be hidden, or a factor skips one of its keys.
    bool cut = false;
    if (plan->pooled) {
      if (HWY_UNLIKELY(key >= column_end)) enter_column(std::max(key, plan->looked_keys.begin));
      cut = key + kRows > column_end || key < plan->looked_keys.begin || !inside(key) || leaves_some_out(key);
      if (HWY_UNLIKELY(cut)) keep_scores(s, first);
    }
    weigh(s, key, first);
    if (const float* factors = plan->key_factors(key)) {
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { s.c[r * V + v] = s.c[r * V + v] * hn::Set(F32(), factors[r]); });
      });
    }
    if (plan->distance) add_distance(s, key, first);
    for (int64_t match = 0; match < plan->matches; ++match) add_match(s, key, first, match);
    bool near = false;
    if (plan->received || plan->offsets) near = add_columns(s, key);
    if (HWY_UNLIKELY(near || cut)) {
      keep_weights(s, first);
      if (near) add_near_offsets(key);
      if (cut) pool_key_by_key(key);
    }
    if (plan->pooled && HWY_LIKELY(!cut)) pool_group(s, first);
  }

  // Replaces scores by weights, and accumulates entropy.
  template <int V>
  HWY_INLINE void weigh(Scores<V>& s, int64_t key, int first) {
    const F32 d;
    if (HWY_UNLIKELY(by_log)) return weigh_other(s, key, first);
    if (plan->entropy) {
      unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
        const int at = first + v * kLanes;
        const Floats shift = hn::Load(d, m + at), factor = hn::Load(d, inverse + at), whole = hn::Load(d, log_sum + at);
        Floats sum = hn::Load(d, entropy + at);
        unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
          const Floats c = term_floor(s.c[r * V + v]);
          const Floats p = exp2_shifted(c, shift) * factor;
          sum = hn::MulAdd(p, c - whole, sum);
          s.c[r * V + v] = p;
        });
        hn::Store(sum, d, entropy + at);
      });
      return;
    }
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      const Floats shift = hn::Load(d, m + first + v * kLanes), factor = hn::Load(d, inverse + first + v * kLanes);
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        // With AVX-512, 2^−∞ is 0 (simd-inl.h)
        const Floats c = kLanes == 16 ? s.c[r * V + v] : term_floor(s.c[r * V + v]);
        s.c[r * V + v] = exp2_shifted(c, shift) * factor;
      });
    });
  }

  // The same if entropy needs the logarithm of each weight: E += p·log₂p. Works through memory, so that it takes no
  // registers from the other path.
  template <int V>
  HWY_INLINE void weigh_other(Scores<V>& s, int64_t key, int first) {
    unroll<kRows * V>([&](auto i) CLEARHEAD_INLINE_LAMBDA { hn::Store(s.c[i], F32(), turned + i * kLanes); });
    weigh_turned(V, key, first);
    unroll<kRows * V>([&](auto i) CLEARHEAD_INLINE_LAMBDA { s.c[i] = hn::Load(F32(), turned + i * kLanes); });
  }
  // Returns p, or 0 if p does not count in the entropy: of the weights of linear attention, only those in [0, 1] count.
  // NaN stays NaN.
  template <WeightKind kKind>
  static HWY_INLINE Floats counted(Floats p) {
    const F32 d;
    if constexpr (kKind != WeightKind::kLinear) return p;
    return hn::IfThenZeroElse(hn::Or(hn::Lt(p, hn::Zero(d)), hn::Gt(p, hn::Set(d, 1.0F))), p);
  }
  HWY_NOINLINE void weigh_turned(int vectors, int64_t key, int first) {
    const F32 d;
    with_kind_of_look(kind, [&](auto k) CLEARHEAD_INLINE_LAMBDA {
      for (int v = 0; v < vectors; ++v) {
        const int at = first + v * kLanes;
        const Floats shift = hn::Load(d, m + at), t = hn::Load(d, threshold + at), factor = hn::Load(d, inverse + at);
        Floats sum = hn::Load(d, entropy + at);
        for (int r = 0; r < kRows; ++r) {
          float* to = turned + (r * vectors + v) * kLanes;
          Floats p = weight_beside<k()>(term_floor(hn::Load(d, to)), shift, t, factor, key + r);
          if (after) p = p * after_factor(*after, *queries, at, key + r);
          if (plan->entropy) sum = hn::MulAdd(counted<k()>(p), log2_of(p), sum);
          hn::Store(p, d, to);
        }
        hn::Store(sum, d, entropy + at);
      }
    });
  }

  // Sets to[lane] to the weight of the key at index `place` of each row's top keys; 0 if there is none.
  void weigh_top(int64_t place, float* to) const {
    const F32 d;
    with_kind_of_look(kind, [&](auto k) CLEARHEAD_INLINE_LAMBDA {
      for (int at = 0; at < queries->vectors * kLanes; at += kLanes) {
        const Floats score = hn::Load(d, top.scores + place * kBlock + at);
        const Ints key = hn::Load(I32(), top.keys + place * kBlock + at);
        Floats p = weight_beside<k()>(score, hn::Load(d, m + at), hn::Load(d, threshold + at), hn::Load(d, inverse + at), key);
        if (after) p = p * after_factor(*after, *queries, at, key);
        const auto none = hn::RebindMask(d, hn::Lt(key, hn::Zero(I32())));
        hn::Store(hn::IfThenZeroElse(none, p), d, to + at);
      }
    });
  }

  template <int V>
  HWY_INLINE void add_distance(const Scores<V>& s, int64_t key, int first) {
    const F32 d;
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      const int at = first + v * kLanes;
      const Floats ahead = hn::Load(d, queries->position + at) - hn::Set(d, static_cast<float>(key));
      Floats sum = hn::Load(d, distance + at);
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        sum = hn::MulAdd(s.c[r * V + v], hn::Abs(ahead - hn::Set(d, static_cast<float>(r))), sum);
      });
      hn::Store(sum, d, distance + at);
    });
  }

  template <int V>
  HWY_INLINE void add_match(const Scores<V>& s, int64_t key, int first, int64_t match) {
    const F32 d;
    const I32 di;
    const int32_t* key_tags = plan->key_tags[static_cast<size_t>(match)].data() + key;
    // True if a query of the block is at the position of a key of the group.
    const bool own = key <= last_position && first_position < key + kRows;
    Ints tag[kRows];
    unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA { tag[r] = hn::Set(di, key_tags[r]); });
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      const int at = first + v * kLanes;
      const Ints query_tag = hn::Load(di, tags + match * kBlock + at);
      Floats sum = hn::Load(d, matched + match * kBlock + at);
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        Lanes same = hn::RebindMask(d, hn::Eq(query_tag, tag[r]));
        if (HWY_UNLIKELY(own)) {
          same = hn::AndNot(hn::Eq(hn::Load(d, queries->position + at), hn::Set(d, static_cast<float>(key + r))), same);
        }
        sum = add_where(same, s.c[r * V + v], sum);
      });
      hn::Store(sum, d, matched + match * kBlock + at);
    });
  }

  // Adds received weights and far offsets. Returns whether a pair of the group is within the reach.
  template <int V>
  HWY_INLINE bool add_columns(const Scores<V>& s, int64_t key) {
    const F32 d;
    Floats x[kRows];
    unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
      x[r] = s.c[r * V];
      unroll<V - 1>([&](auto v) CLEARHEAD_INLINE_LAMBDA { x[r] = x[r] + s.c[r * V + v + 1]; });
    });
    bool near = false;
    if (plan->offsets) {
      const bool before = first_position - (key + kRows - 1) > plan->reach, after = key - last_position > plan->reach;
      near = !before && !after;
      if (!near) {
        float* far = before ? far_before : far_after;
        Floats sum = x[0];
        unroll<kRows - 1>([&](auto r) CLEARHEAD_INLINE_LAMBDA { sum = sum + x[r + 1]; });
        hn::Store(hn::Load(d, far) + sum, d, far);
      }
    }
    if (plan->received) {
      const hn::FixedTag<float, kRows> group;
      float* to = sums->received.data() + key;
      const auto mass = hn::LowerHalf(group, sums_of_rows(x));
      hn::StoreU(hn::LoadU(group, to) + mass, group, to);
    }
    return near;
  }

  template <int V>
  HWY_INLINE void pool_group(const Scores<V>& s, int first) {
    const F32 d;
    float *max = slot_max + slots * kBlock + first, *total = slot_sum + slots * kBlock + first;
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      Floats largest = hn::Max(s.c[v], s.c[V + v]), sum = s.c[v] + s.c[V + v];
      unroll<kRows - 2>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        largest = hn::Max(largest, s.c[(r + 2) * V + v]);
        sum = sum + s.c[(r + 2) * V + v];
      });
      hn::Store(hn::Max(largest, hn::Load(d, max + v * kLanes)), d, max + v * kLanes);
      hn::Store(hn::Load(d, total + v * kLanes) + sum, d, total + v * kLanes);
    });
    slot_inside[slots] += static_cast<float>(kRows);
  }

  template <int V>
  HWY_INLINE void keep_scores(const Scores<V>& s, int first) {
    const F32 d;
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) hn::Store(hn::Set(d, kHidden), d, scores + r * kBlock + v * kLanes);
    }
    unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
      unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { hn::Store(s.c[r * V + v], d, scores + r * kBlock + first + v * kLanes); });
    });
  }
  template <int V>
  HWY_INLINE void keep_weights(const Scores<V>& s, int first) {
    const F32 d;
    if (V < kVectors) {
      for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < kVectors; ++v) hn::Store(hn::Zero(d), d, weights + r * kStride + kPad + v * kLanes);
      }
    }
    unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
      unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { hn::Store(s.c[r * V + v], d, weights + r * kStride + kPad + first + v * kLanes); });
    });
  }

  // Returns true if a NaN factor skips a key of the group.
  HWY_INLINE bool leaves_some_out(int64_t key) const {
    const float* factors = plan->key_factors(key);
    if (!factors) return false;
    bool some = false;
    for (int r = 0; r < kRows; ++r) some = some || std::isnan(factors[r]);
    return some;
  }

  // Returns true if every query of the block sees every key of the group.
  HWY_INLINE bool inside(int64_t key) const {
    if (hides) return false;
    bool all = true;
    for (int v = 0; v < queries->vectors; ++v) all = all && queries->all_low[v] <= key && key + kRows <= queries->all_high[v];
    return all;
  }

  // Adds the group in `weights` along its diagonals, position − key. If positions are consecutive, lane − r has kWindow values.
  HWY_NOINLINE void add_near_offsets(int64_t key) {
    const F32 d;
    const int64_t reach = plan->reach, base = reach + SweepPlan::kMargin;
    if (!consecutive) {
      for (int i = 0; i < queries->count; ++i) {
        for (int r = 0; r < kRows; ++r) {
          const int64_t ahead = static_cast<int64_t>(queries->position[i]) - key - r;
          sums->window[static_cast<size_t>(base + std::clamp(ahead, -reach - 1, reach + 1))] += weights[r * kStride + kPad + i];
        }
      }
      return;
    }
    float* window = sums->window.data() + base + first_position - key - (kRows - 1);
    for (int x = 0; x < kWindow; x += kLanes) {
      Floats sum = hn::LoadU(d, weights + kPad + x - (kRows - 1));
      for (int r = 1; r < kRows; ++r) sum = sum + hn::LoadU(d, weights + r * kStride + kPad + x + r - (kRows - 1));
      hn::StoreU(hn::LoadU(d, window + x) + sum, d, window + x);
    }
  }

  // --- cells --------------------------------------------------------------------------------------------------------

  void clear_slots() {
    std::fill(slot_max, slot_max + kLanes * kBlock, kNoWeight);
    std::fill(slot_sum, slot_sum + kLanes * kBlock, 0.0F);
    std::fill(slot_inside, slot_inside + kLanes, 0.0F);
    std::fill(slot_counted, slot_counted + kLanes, false);
    slots = 0;
  }
  HWY_INLINE void leave_column() {
    if (column_end == 0) return;
    column_end = 0;
    if (++slots == kLanes) fold_slots();
  }
  HWY_INLINE void enter_column(int64_t key) {
    const bool follows = column_end != 0;
    leave_column();
    const int64_t* ends = plan->column_ends();
    int64_t next = follows ? column + 1 : 0;
    if (HWY_UNLIKELY(ends[next] <= key)) {
      next = plan->call.grid.column_of(key);
      if (slots > 0 && next != column + 1) fold_slots();
    }
    column = next;
    column_end = ends[next];
  }
  void leave_cells() {
    leave_column();
    if (slots > 0) fold_slots();
  }

  // Transposes [column][lane] into `turned`.
  HWY_INLINE void turn(const float* from) {
    const F32 d;
    for (int v = 0; v < kVectors; ++v) {
      Floats t[kLanes];
      unroll<kLanes>([&](auto c) CLEARHEAD_INLINE_LAMBDA { t[c] = hn::Load(d, from + c * kBlock + v * kLanes); });
      transpose(t);
      unroll<kLanes>([&](auto lane) CLEARHEAD_INLINE_LAMBDA { hn::Store(t[lane], d, turned + (v * kLanes + lane) * kLanes); });
    }
  }
  // Adds the waiting columns to the cells: all columns of a lane at once, the lanes of a run in order.
  HWY_NOINLINE void fold_slots() {
    const F32 d;
    const int64_t first = column + 1 - slots;  // the last waiting column is `column`
    alignas(64) float folded[kLanes];
    turn(slot_max);
    for (int i = 0; i < run_count; ++i) {
      Floats largest = hn::Set(d, kNoWeight);
      for (int lane = runs[i].begin; lane < runs[i].end; ++lane) largest = hn::Max(largest, hn::Load(d, turned + lane * kLanes));
      hn::Store(largest, d, folded);
      float* to = sums->cells.max + runs[i].cells + first;  // all kLanes columns; unused ones add nothing
      for (int c = 0; c < kLanes; ++c) to[c] = std::max(to[c], folded[c]);
    }
    turn(slot_sum);
    for (int i = 0; i < run_count; ++i) {
      Floats sum = hn::Zero(d);
      for (int lane = runs[i].begin; lane < runs[i].end; ++lane) sum = sum + hn::Load(d, turned + lane * kLanes);
      hn::Store(sum, d, folded);
      double *to = sums->cells.sum + runs[i].cells + first, *count = sums->cells.count + runs[i].cells + first;
      const float lanes = static_cast<float>(runs[i].end - runs[i].begin);
      for (int c = 0; c < kLanes; ++c) to[c] += static_cast<double>(folded[c]);
      for (int c = 0; c < kLanes; ++c) count[c] += static_cast<double>(lanes * slot_inside[c]);
      for (int c = 0; c < slots; ++c) {
        if (!slot_counted[c]) continue;
        for (int lane = runs[i].begin; lane < runs[i].end; ++lane) count[c] += static_cast<double>(slot_count[c * kBlock + lane]);
      }
    }
    clear_slots();
  }
  HWY_NOINLINE void pool_key_by_key(int64_t key) {
    const F32 d;
    const float* factors = plan->key_factors(key);
    const Range keys = plan->looked_keys;
    for (int r = static_cast<int>(std::max<int64_t>(0, keys.begin - key)); r < kRows && key + r < keys.end; ++r) {
      if (factors && std::isnan(factors[r])) continue;
      if (key + r >= column_end) enter_column(key + r);
      float *max = slot_max + slots * kBlock, *total = slot_sum + slots * kBlock, *count = slot_count + slots * kBlock;
      if (!slot_counted[slots]) std::fill(count, count + kBlock, 0.0F);
      slot_counted[slots] = true;
      for (int at = 0; at < queries->vectors * kLanes; at += kLanes) {
        const Lanes hidden = hn::Lt(hn::Load(d, scores + r * kBlock + at), hn::Set(d, kVisible));
        const Floats p = hn::Load(d, weights + r * kStride + kPad + at), largest = hn::Load(d, max + at);
        hn::Store(hn::IfThenElse(hidden, largest, hn::Max(p, largest)), d, max + at);
        hn::Store(hn::Load(d, total + at) + hn::IfThenZeroElse(hidden, p), d, total + at);
        hn::Store(hn::Load(d, count + at) + hn::IfThenZeroElse(hidden, hn::Set(d, 1.0F)), d, count + at);
      }
    }
  }

  // --- a block, a tile ----------------------------------------------------------------------------------------------

  void begin_block() {
    std::fill(entropy_total, entropy_total + kBlock, 0.0);
    std::fill(distance_total, distance_total + kBlock, 0.0);
    std::fill(matched_total, matched_total + plan->matches * kBlock, 0.0);
    std::fill(weights, weights + kRows * kStride, 0.0F);
    column = column_end = tiles = 0;
    if (plan->pooled) clear_slots();
    top.reset();
    begin_tile();
  }
  void begin_tile() {
    std::fill(entropy, entropy + kBlock, 0.0F);
    std::fill(distance, distance + kBlock, 0.0F);
    std::fill(far_before, far_before + kLanes, 0.0F);
    std::fill(far_after, far_after + kLanes, 0.0F);
    std::fill(matched, matched + plan->matches * kBlock, 0.0F);
  }
  void end_tile() {
    for (int i = 0; i < kBlock; ++i) {
      entropy_total[i] += static_cast<double>(entropy[i]);
      distance_total[i] += static_cast<double>(distance[i]);
    }
    for (int i = 0; i < kLanes; ++i) {
      sums->far_before += static_cast<double>(far_before[i]);
      sums->far_after += static_cast<double>(far_after[i]);
    }
    for (int64_t i = 0; i < plan->matches * kBlock; ++i) matched_total[i] += static_cast<double>(matched[i]);
    if (plan->pooled && ++tiles % kTilesAdded == 0) leave_cells();
    begin_tile();
  }
};

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
