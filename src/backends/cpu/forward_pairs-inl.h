// Softmax over tiles where q, k and v are bf16: both products multiply pairs, of channels in the scores, of keys in the values; or matrices of such pairs
// (matrix-inl.h). Included once per target.
//
//   scores of pairs (pair-inl.h) → m, e = 2^(s − m) and ℓ += e as in forward_tile-inl.h → P = bf16(e) by pairs of keys, ℓ' += P → O[c] += Σ P_j·v_jc by pairs
//
// Out is O/ℓ': what P's rounding does to the sum it does to what is divided by it, too. The record keeps ℓ, so that looks show the weights of the given q and k
// exactly, and ℓ' for looks at weights as used. m is an integer: moving it scales a rounded P without rounding it again. V is interleaved by pairs of keys, out rounded block by block.
#if defined(CLEARHEAD_CPU_FORWARD_PAIRS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_FORWARD_PAIRS_INL_H_
#undef CLEARHEAD_CPU_FORWARD_PAIRS_INL_H_
#else
#define CLEARHEAD_CPU_FORWARD_PAIRS_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "backends/cpu/forward_decode-inl.h"
#include "backends/cpu/forward_list-inl.h"
#include "backends/cpu/forward_split-inl.h"
#include "base/parallel.h"
#include "tensor/convert.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// p: [kKeyTile / 2][kBlock] pairs. Also the epilogue of for_each_group.
template <bool kMatrices>
struct RoundedBlock : SoftmaxBlock {
  static constexpr bool kPairsOnly = !kMatrices, kMatricesOnly = kMatrices;
  alignas(64) float rounded[kBlock];  // ℓ'
  int64_t matrix_step = 0;

  void reset() {
    used = rounded;
    std::fill(rounded, rounded + kBlock, 0.0F);
    SoftmaxBlock::reset();
  }

  template <int V>
  HWY_INLINE void operator()(Scores<V>& s, int64_t key, int first_vector) {
    take<false>(s, key, first_vector);
  }
  template <bool kSums, int V>
  HWY_INLINE void take(Scores<V>& s, int64_t key, int first_vector) {
    weigh<kSums>(s, key, first_vector);
    add_run(static_cast<int32_t>(key - tile), first_vector, V);
  }
  // For plain_matrices: V vectors' products in memory, a vector at a time, which is as much as the registers hold beside the constants.
  template <int V, bool kSums>
  HWY_INLINE void take_products(const float* products, float factor, int64_t key) {
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      Scores<1> s;
      load_products(products + v * kLanes, factor, s);
      weigh<kSums>(s, key, v);
    });
    add_run(static_cast<int32_t>(key - tile), 0, V);
  }
  template <bool kSums, int V>
  HWY_INLINE void weigh(Scores<V>& s, int64_t key, int first_vector) {
    const F32 d;
    const int first = first_vector * kLanes;
    follow_scores(s, first_vector);
    float* to = p + (key - tile) / 2 * kBlock + first;
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      const Floats shift = hn::Load(d, m + first + v * kLanes);
      Floats sum = hn::Load(d, rounded + first + v * kLanes), surprised = hn::Zero(d);
      unroll<kRows / 2>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        Floats &even = s.c[2 * r * V + v], &odd = s.c[(2 * r + 1) * V + v];
        const Floats even_score = even, odd_score = odd;
        even = exp2_shifted<kMatrices>(even, shift);
        odd = exp2_shifted<kMatrices>(odd, shift);
        if constexpr (kSums) surprised = hn::MulAdd(odd, odd_score, hn::MulAdd(even, even_score, surprised));
        const Floats pair = to_pairs(even, odd);
        hn::Store(pair, d, to + r * kBlock + v * kLanes);
        sum = sum + even_of(pair) + odd_of(pair);
      });
      hn::Store(sum, d, rounded + first + v * kLanes);
      add_sums<kSums, V>(s, v, key, first + v * kLanes, surprised);
    });
    if (HWY_UNLIKELY(careful)) mark_hidden_pairs<V>(to);
  }

  // TileBlock::mark_hidden for halves.
  template <int V>
  HWY_NOINLINE void mark_hidden_pairs(float* to) {
    const F32 d;
    const I32 di;
    const Floats visible = hn::Set(d, kVisible);
    for (int r = 0; r < kRows; ++r) {
      const Ints half = hn::Set(di, r % 2 == 0 ? 0xFFFF : -65536), mark = hn::Set(di, r % 2 == 0 ? 0x8000 : INT32_MIN);
      for (int v = 0; v < V; ++v) {
        const auto hidden = hn::RebindMask(di, hn::Lt(hn::Load(d, raw + (r * V + v) * kLanes), visible));
        float* at = to + r / 2 * kBlock + v * kLanes;
        const Ints pair = hn::BitCast(di, hn::Load(d, at)), marked = hn::Or(hn::AndNot(half, pair), mark);
        hn::Store(hn::BitCast(d, hn::IfThenElse(hidden, marked, pair)), d, at);
      }
    }
  }
};

using PairBlock = RoundedBlock<false>;
using MatrixBlock = RoundedBlock<true>;

inline void add_tile_values(PairBlock& block, const ValueView& values, int64_t key_length) {
  const float* rows = values.values + block.tile / 2 * values.stride;
  for (int i = 0; i < block.run_count; ++i) {
    const Run& run = block.runs[i];
    const int64_t pairs = (std::min<int64_t>(run.end, key_length - block.tile) - run.begin + 1) / 2;
    const float* p = block.p + run.begin / 2 * kBlock + run.first_vector * kLanes;
    const float* from = rows + run.begin / 2 * values.stride;
    float* o = block.o + run.first_vector * kLanes;
    if (HWY_UNLIKELY(block.careful)) {
      add_run_pairs_carefully(run, p, from, values.stride, pairs, values.d_v, o);
    } else {
      add_run_values_of<PairStep>(run.vectors, p, from, values.stride, pairs, values.d_v, o);
    }
  }
}

inline void add_tile_values(MatrixBlock& block, const ValueView& values, int64_t) {
  if (block.run_count == 0) return;
  const int vectors = block.queries->vectors;
  const Range of = fill_between_runs(block.runs, block.run_count, vectors, block.matrix_step, block.p);
  const float* from = values.values + block.tile / 2 * values.stride;
  add_matrix_values(block.p, from, block.matrix_step, of, values.d_v, vectors, block.careful, block.o);
}

// One head's values: (v[2j][c], v[2j + 1][c]) as one word, past the last key 0.   bf16 [key, d_v] → [⌈key / 2⌉][d_v], for matrices as lay_out_pairs has them
template <bool kMatrices>
void interleave_values(const Tensor& v, int64_t batch, int64_t key_head, float* spare, float* to) {
  const auto* row = reinterpret_cast<const uint16_t*>(v.raw()) + batch * v.stride(0) + key_head * v.stride(1);
  if constexpr (kMatrices) return lay_out_pairs(row, v.stride(2), v.stride(3), v.size(2), v.size(3), spare, to);
  for (int64_t key = 0; key < v.size(2); key += 2, row += 2 * v.stride(2), to += v.size(3)) {
    interleave(row, key + 1 < v.size(2) ? row + v.stride(2) : nullptr, v.stride(3), v.size(3), to);
  }
}

// Rows of f32 to where the call wants them in bf16.
inline void round_rows(const ForwardPlan& plan, int64_t batch, int64_t head, const BlockRange& block, const float* rows) {
  const Tensor& out = plan.call.out;
  auto* to = reinterpret_cast<uint16_t*>(plan.narrow_out) + batch * out.stride(0) + head * out.stride(1) + block.begin * out.stride(2);
  const int64_t step = out.stride(3);
  for (int i = 0; i < block.count; ++i, to += out.stride(2), rows += plan.d_v) {
    if (step == 1) {
      for (int64_t c = 0; c < plan.d_v; ++c) to[c] = rounded_to_bf16(rows[c]);
    } else {
      for (int64_t c = 0; c < plan.d_v; ++c) to[c * step] = rounded_to_bf16(rows[c]);
    }
  }
}

/// Whether a call whose scores are of pairs takes its values so too: softmax over tiles. Others meet values in f32.
inline bool goes_by_pairs(const ForwardPlan& plan) {
  const ScoreView view = plan.problem.view(0, 0);
  return kHasPairs && view.kind == WeightKind::kSoftmax && !view.after.is_by_pair() && plan.rows > kDecodeQueries &&
         !goes_by_list(view, plan.rows) && split_of(plan.rows * plan.problem.group(), view.key_length) == 0;
}

// A thread interleaves the values of the head that it works on for itself: 0.2 % of a head's time, and no memory of the call's size.
template <class Block>
void forward_pairs(ForwardPlan& plan) {
  const int64_t key_heads = plan.problem.heads() / plan.problem.group(), keys = plan.call.v.size(2);
  constexpr bool kMatrices = Block::kMatricesOnly;
  const int64_t stride = kMatrices ? round_up(plan.d_v, kSide) : plan.d_v;  // of a pair of keys
  std::vector<int64_t> holds(static_cast<size_t>(threads()), -1);           // [thread]: the key head
  plan.narrow_out = plan.call.out.mutable_raw();
  plan.call.rows.used = Tensor::empty(plan.call.rows.m.shape());
  plan.used = plan.call.rows.used.template mutable_data<float>();
  for_each_block(plan, kTogether, [&](int64_t batch, int64_t head, std::span<const BlockRange> blocks, int thread) {
    float* values = ThreadScratch::value_pairs(kMatrices ? laid_out_floats(keys, plan.d_v) : (keys + 1) / 2 * plan.d_v);
    const int64_t of_batch = head / plan.problem.group(), key_head = batch * key_heads + of_batch;
    const int count = static_cast<int>(blocks.size());
    float* rows = ThreadScratch::wide_rows(count * kBlock * plan.d_v);
    if (std::exchange(holds[static_cast<size_t>(thread)], key_head) != key_head)
      interleave_values<kMatrices>(plan.call.v, batch, of_batch, rows, values);
    JobsTogether<BlockJob<Block>> jobs;
    for (int i = 0; i < count; ++i) {
      BlockJob<Block>& job = jobs[i].emplace(plan, batch, head, blocks[i].begin, blocks[i].count, i, count);
      job.values.values = values;
      job.values.stride = stride;
      job.softmax.matrix_step = job.view.matrix_step;
      for (int row = 0; row < blocks[i].count; ++row) job.out.rows[row] = rows + (i * kBlock + row) * plan.d_v;
    }
    forward_blocks(plan, jobs);
    for (int i = 0; i < count; ++i) round_rows(plan, batch, head, blocks[i], rows + i * kBlock * plan.d_v);
  });
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
