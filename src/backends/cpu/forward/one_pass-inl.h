// Normalisers that process each score once, as it is computed: sigmoid, linear, and hard (one key is chosen). Included
// once per target.
//
//   sigmoid   P = σ(s + b). Weights are multiplied by values tile by tile, as for softmax; there is no ℓ.
//   linear    The scores themselves are the weights; the output is divided by ℓ = Σ s at the end.
//   hard      Each lane keeps the best score so far and its key, and Σ 2^(s − m) for the log-probability of the choice;
//             at the end, one row of values is copied. A sampled choice uses the best of s + noise, where
//             noise = −log₂(−ln u) and u is a function of (seed, batch, head, query, key): exact sampling in one pass.
//
// Ties go to the earlier key, because keys are visited in ascending order. Sources: Ramapuram et al. 2024; Xu et al.
// 2015; Maddison, Tarlow & Minka 2014 (Gumbel-max); Katharopoulos et al. 2020.
#if defined(CLEARHEAD_CPU_FORWARD_ONE_PASS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_FORWARD_ONE_PASS_INL_H_
#undef CLEARHEAD_CPU_FORWARD_ONE_PASS_INL_H_
#else
#define CLEARHEAD_CPU_FORWARD_ONE_PASS_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "backends/cpu/forward/flash-inl.h"
#include "backends/cpu/score/weight-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// --- sigmoid, linear ------------------------------------------------------------------------------------------------

// Sigmoid and linear weights: an epilogue of for_each_group.
template <WeightKind kKind>
struct EachBlock : TileBlock {
  alignas(64) float sees[kBlock];  // 1 once the row has seen a key
  alignas(64) float l[kBlock];     // kLinear: the sum of the scores, base 2
  float shift = 0;                 // kSigmoid: −bias in base 2

  void reset() {
    std::fill(sees, sees + kBlock, 0.0F);
    std::fill(l, l + kBlock, 0.0F);
    std::fill(o, o + d_v * kBlock, 0.0F);
  }

  template <int V>
  HWY_INLINE void operator()(Scores<V>& s, int64_t key, int first_vector) {
    const F32 d;
    const int first = first_vector * kLanes;
    if (HWY_UNLIKELY(careful)) spill(s);
    const int32_t in_tile = static_cast<int32_t>(key - tile);
    float* to = p + in_tile * kBlock + first;
    const Floats one = hn::Set(d, 1.0F), none = hn::Set(d, shift), visible = hn::Set(d, kVisible);
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      Floats seen = hn::Load(d, sees + first + v * kLanes);
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        const Floats c = s.c[r * V + v];
        seen = hn::IfThenElse(hn::Lt(c, visible), seen, one);
        s.c[r * V + v] = weight_of<kKind>(c, none, one);
        hn::Store(s.c[r * V + v], d, to + r * kBlock + v * kLanes);
      });
      hn::Store(seen, d, sees + first + v * kLanes);
      if constexpr (kKind == WeightKind::kLinear) {
        unroll<kRows - 1>([&](auto r) CLEARHEAD_INLINE_LAMBDA { s.c[v] = s.c[v] + s.c[(r + 1) * V + v]; });
        hn::Store(hn::Load(d, l + first + v * kLanes) + s.c[v], d, l + first + v * kLanes);
      }
    });
    if (HWY_UNLIKELY(after != nullptr)) apply_after(*after, *queries, key, first_vector, V, to);
    if (HWY_UNLIKELY(careful)) mark_hidden<V>(to);
    add_run(in_tile, first_vector, V);
  }
};

// --- hard -----------------------------------------------------------------------------------------------------------

// The hard choice: an epilogue of for_each_group.
struct HardBlock {
  alignas(64) float m[kBlock], l[kBlock];         // the row's softmax: shift and Σ 2^(s − m)
  alignas(64) float best[kBlock], score[kBlock];  // the best key's score with noise, and without
  alignas(64) int32_t chosen[kBlock];
  alignas(64) uint32_t low[kBlock], high[kBlock];  // sampled choice: the halves of the row's noise_of (spec/keep.h)
  bool draws = false;

  void reset() {
    std::fill(m, m + kBlock, kNone);
    std::fill(l, l + kBlock, 0.0F);
    std::fill(best, best + kBlock, kVisible);
    std::fill(score, score + kBlock, 0.0F);
    std::fill(chosen, chosen + kBlock, -1);
  }

  template <int V>
  HWY_INLINE void operator()(Scores<V>& s, int64_t key, int first_vector) {
    const F32 d;
    const I32 di;
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      const int at = (first_vector + v) * kLanes;
      Floats c[kRows];
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA { c[r] = term_floor(s.c[r * V + v]); });
      add_to_sum(c, at);
      Floats top = hn::Load(d, best + at), plain = hn::Load(d, score + at);
      Ints where = hn::Load(di, chosen + at);
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        const Floats x = HWY_UNLIKELY(draws) ? c[r] + noise(at, key + r) : c[r];
        const Lanes better = hn::Gt(x, top);
        top = hn::IfThenElse(better, x, top);
        plain = hn::IfThenElse(better, c[r], plain);
        where = hn::IfThenElse(hn::RebindMask(di, better), hn::Set(di, static_cast<int32_t>(key + r)), where);
      });
      hn::Store(top, d, best + at);
      hn::Store(plain, d, score + at);
      hn::Store(where, di, chosen + at);
    });
  }

  HWY_INLINE void add_to_sum(const Floats* c, int at) {
    const F32 d;
    Floats shift = hn::Load(d, m + at), sum = hn::Load(d, l + at), largest = c[0];
    unroll<kRows - 1>([&](auto r) CLEARHEAD_INLINE_LAMBDA { largest = hn::Max(largest, c[r + 1]); });
    const Lanes above = hn::Gt(largest, shift);
    if (HWY_UNLIKELY(!hn::AllFalse(d, above))) {
      const Floats to = hn::IfThenElse(above, hn::Ceil(largest), shift);
      sum = hn::IfThenElse(above, sum * exp2_shifted(shift, to), sum);
      shift = to;
      hn::Store(shift, d, m + at);
    }
    unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA { sum = sum + exp2_shifted(c[r], shift); });
    hn::Store(sum, d, l + at);
  }

  // −log₂(−ln u), u = (23 random bits of the (query, key) pair + ½)·2⁻²³.
  HWY_NOINLINE Floats noise(int at, int64_t key) const {
    const F32 d;
    const U32 du;
    const Words bits = pair_bits_of(hn::Load(du, low + at), hn::Load(du, high + at), key);
    const Floats n = hn::ConvertTo(d, hn::BitCast(I32(), hn::ShiftRight<9>(bits)));
    const Floats u = (n + hn::Set(d, 0.5F)) * hn::Set(d, 0x1p-23F);
    return hn::Zero(d) - log2_of(log2_of(u) * hn::Set(d, -kLn2));
  }
};

// Writes one row: its statistics, and the value of the chosen key.
inline void write_choice(const ForwardPlan& plan, const ScoreView& view, const ValueView& values, const QueryBlock& queries,
                         const HardBlock& hard, int lane, int64_t at, float* out) {
  const F32 d;
  const int64_t step = plan.out_channel(), key = hard.chosen[lane];
  const float l = hard.l[lane];
  if (l == 0 || !std::isfinite(l)) {
    const float fill = l == 0 ? 0 : std::numeric_limits<float>::quiet_NaN();
    for (int64_t c = 0; c < plan.d_v; ++c) out[c * step] = fill;
    plan.m[at] = l == 0 ? -std::numeric_limits<float>::infinity() : fill;
    plan.l[at] = fill;
    return;
  }
  plan.m[at] = static_cast<float>(key);
  plan.l[at] = static_cast<float>((static_cast<double>(hard.score[lane]) - static_cast<double>(hard.m[lane])) * std::numbers::ln2 -
                                  std::log(static_cast<double>(l)));
  float factor = view.after.factor;
  if (view.after.is_by_pair()) {
    alignas(64) float factors[kLanes];
    hn::Store(after_factor(view.after, queries, lane / kLanes * kLanes, key), d, factors);
    factor *= factors[lane % kLanes];
  }
  const float* from = values.rows(key, 1);
  const int64_t row = view.relative.values ? offset_row(key, view.position_of(queries.query[lane]), view.relative.reach) : 0;
  for (int64_t c = 0; c < plan.d_v; ++c) {
    out[c * step] = (view.relative.values ? from[c] + view.relative.values[row * plan.d_v + c] : from[c]) * factor;
  }
}

// --- one block ------------------------------------------------------------------------------------------------------

// Writes the results of a block. Returns whether all of them are finite.
template <WeightKind kKind>
bool finish_each(const ForwardPlan& plan, BlockJob<EachBlock<kKind>>& job) {
  alignas(64) float factor[kBlock];
  const EachBlock<kKind>& block = job.softmax;
  for (int i = 0; i < kBlock; ++i) {
    const bool sees = block.sees[i] != 0, is_linear = kKind == WeightKind::kLinear;
    float sum = is_linear ? block.l[i] * kLn2 : 1;
    if (std::abs(sum) < 0x1p-126F) sum = 0;  // too small for f32 to divide by
    factor[i] = !sees || sum == 0 ? 0 : is_linear ? job.view.after.factor / block.l[i] : job.view.after.factor;
    if (i >= job.queries.count) continue;
    plan.m[job.first_row + i] = sees ? 0 : -std::numeric_limits<float>::infinity();
    plan.l[job.first_row + i] = sees ? sum : 0;
  }
  return store_outputs(block.o, factor, job.queries, plan.d_v, job.out, job.spare);
}

template <WeightKind kKind>
void each_block(const ForwardPlan& plan, int64_t batch, int64_t head, const BlockRange& range) {
  BlockJob<EachBlock<kKind>> job(plan, batch, head, range.begin, range.count);
  if (const Sigmoid* sigmoid = std::get_if<Sigmoid>(&plan.call.spec.normaliser)) job.softmax.shift = -sigmoid->bias * kLog2E;
  for (const bool careful : {false, true}) {
    job.attend({0, job.view.key_length}, careful);
    if (finish_each(plan, job)) return;
  }
}

inline void hard_block(const ForwardPlan& plan, int64_t batch, int64_t head, const BlockRange& range) {
  const ScoreView view = plan.problem.view(batch, head);
  const ValueView values = plan.value_view(batch, view);
  const Hard& kind = std::get<Hard>(plan.call.spec.normaliser);
  float* memory = ThreadScratch::floats(view.d_k * kBlock + tile_scratch_floats(view));
  QueryBlock queries;
  queries.qt = memory;
  const TileScratch scratch = make_tile_scratch(view, memory + view.d_k * kBlock);
  int64_t rows[kBlock];
  for (int i = 0; i < range.count; ++i) rows[i] = range.begin + i;
  pack_queries(view, rows, range.count, queries);
  HardBlock hard;
  hard.reset();
  hard.draws = kind.choice == Hard::Choice::kSampled;
  for (int i = 0; hard.draws && i < queries.vectors * kLanes; ++i) {
    const uint64_t noise = noise_of(kind.seed, batch, head, queries.query[i]);
    hard.low[i] = static_cast<uint32_t>(noise);
    hard.high[i] = static_cast<uint32_t>(noise >> 32);
  }
  const int64_t last = queries.last_key();
  const int64_t first = std::min(queries.first_key(), last) / kKeyTile * kKeyTile;
  for (int64_t tile = next_tile(view, queries, first, last); tile < last; tile = next_tile(view, queries, tile + kKeyTile, last)) {
    const TileSight sight = prepare_tile({view, queries, scratch}, tile);
    if (!sight.empty()) for_each_group({view, queries, scratch}, sight, hard);
  }
  for (int i = 0; i < range.count; ++i) {
    write_choice(plan, view, values, queries, hard, i, plan.stats_row(batch, head, range.begin + i),
                 plan.out_row(batch, head, range.begin + i));
  }
}

inline void forward_one_pass(const ForwardPlan& plan) {
  const WeightKind kind = plan.problem.kind();
  const auto work = kind == WeightKind::kSigmoid  ? each_block<WeightKind::kSigmoid>
                    : kind == WeightKind::kLinear ? each_block<WeightKind::kLinear>
                                                  : hard_block;
  for_each_block(plan, 1,
                 [&](int64_t batch, int64_t head, std::span<const BlockRange> blocks, int) { work(plan, batch, head, blocks[0]); });
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
