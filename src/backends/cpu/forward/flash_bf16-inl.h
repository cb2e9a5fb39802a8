// Online softmax over key tiles with q, k and v in bf16. Both matrix products multiply words of two bf16: two channels for
// scores, two keys for values. They use VDPBF16PS or AMX (amx-inl.h). Included once per target.
//
//   scores (steps-inl.h) → m, e = 2^(s − m) and ℓ += e as in flash-inl.h
//                        → P = bf16(e) in words of two keys, ℓ' += P → O[c] += Σ P_j·v_jc
//
// The output is O/ℓ', so the rounding of P changes numerator and divisor alike. The record keeps ℓ, for recomputing the
// exact weights of the given q and k, and ℓ', for recomputing the weights as used. m is an integer: changing it scales a
// rounded P without rounding it again. V is interleaved into words of two keys; out is rounded block by block.
//
// VDPBF16PS halves the time of the products; the exponentials take as long as in f32. So for groups that every query
// sees, the exponentials of one group are interleaved with the products of the next (RoundedBlock::weave).
#if defined(CLEARHEAD_CPU_FORWARD_FLASH_BF16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_FORWARD_FLASH_BF16_INL_H_
#undef CLEARHEAD_CPU_FORWARD_FLASH_BF16_INL_H_
#else
#define CLEARHEAD_CPU_FORWARD_FLASH_BF16_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "backends/cpu/forward/decode-inl.h"
#include "backends/cpu/forward/gather-inl.h"
#include "backends/cpu/forward/split_kv-inl.h"
#include "base/parallel.h"
#include "tensor/convert.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// A group's bf16 dot products, computed a few channels at a time.
template <int V>
struct ProductsOf {
  const float* HWY_RESTRICT qt;
  RowMajor keys;
  Scores<V> s;
  HWY_INLINE ProductsOf(const float* queries, RowMajor rows) : qt(queries), keys(rows) { clear(s); }
  template <int kCount>
  HWY_INLINE void add_channels_of() {
    unroll<kCount>([&](auto) CLEARHEAD_INLINE_LAMBDA {
      add_channels<V>(Bf16DotStep(), qt, keys, 1, s);
      qt += kBlock;
      keys.next_channel();
    });
  }
};

// A softmax block whose P is rounded to bf16. p: [kKeyTile / 2][kBlock] words of two keys. An epilogue of for_each_group.
template <bool kByAmx>
struct RoundedBlock : SoftmaxBlock {
  static constexpr bool kBf16DotOnly = !kByAmx, kAmxOnly = kByAmx;
  static constexpr int kHalves = 2, kLeastStep = 2;
  // The smallest d_k, in words of two channels, for which weave has products to interleave with the exponentials.
  static constexpr int64_t kLeastWoven = kLeastStep * 2 * kHalves * kVectors;
  alignas(64) float rounded[kBlock];  // ℓ'
  int64_t amx_step = 0;

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
  // For plain_amx: reads the products of V vectors from memory, one vector at a time. More would not fit in registers
  // together with the constants.
  template <int V, bool kSums>
  HWY_INLINE void take_products(const float* products, float factor, int64_t key) {
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      Scores<1> s;
      load_products(products + v * kLanes, factor, s);
      weigh<kSums>(s, key, v);
    });
    add_run(static_cast<int32_t>(key - tile), 0, V);
  }
  // For plain_groups: processes groups [begin, end), interleaved where possible.
  template <bool kSums>
  HWY_NOINLINE void take_groups(const ScoreView& view, const float* qt, const TileSight& sight, int64_t begin, int64_t end) {
    while (begin < end) {
      int64_t far = begin;
      while (far < end && (!kSums || is_far(far))) far += kRows;
      if (begin < far) weave_by_width<kSums>(view, qt, sight, begin, far);
      if (far < end) {
        Scores<kVectors> s;
        bf16_dot_products<kVectors>(view, qt, RowMajor(sight.keys + (far - sight.tile) * view.key_stride, view.key_stride), s);
        take<kSums>(s, far, 0);
      }
      begin = far + kRows;
    }
  }

  // Adds the two weights of a word to ℓ'.
  static HWY_INLINE Floats add_rounded(Floats pair, Floats sum) {
    if constexpr (kByAmx) return sum + even_of(pair) + odd_of(pair);
    return dot_bf16(pair, hn::BitCast(F32(), hn::Set(I32(), 0x3F803F80)), sum);  // times (1, 1)
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
      unroll<kRows / 2>([&](auto i) CLEARHEAD_INLINE_LAMBDA {
        constexpr int r = i % 2 * (kRows / 4) + i / 2;  // the order of Part::begin_half and end_half
        Floats &even = s.c[2 * r * V + v], &odd = s.c[(2 * r + 1) * V + v];
        const Floats even_score = even, odd_score = odd;
        even = exp2_shifted<kByAmx>(even, shift);
        odd = exp2_shifted<kByAmx>(odd, shift);
        if constexpr (kSums) surprised = hn::MulAdd(odd, odd_score, hn::MulAdd(even, even_score, surprised));
        const Floats pair = to_bf16_words(even, odd);
        hn::Store(pair, d, to + r * kBlock + v * kLanes);
        sum = add_rounded(pair, sum);
      });
      hn::Store(sum, d, rounded + first + v * kLanes);
      add_sums<kSums, V>(s, v, key, first + v * kLanes, surprised);
    });
    if (HWY_UNLIKELY(careful)) mark_hidden_words<V>(to);
  }

  // Does what `weigh` does, for one vector of a group that every query sees, in two halves and with the same bits. It reads
  // products from memory, [key][vector][lane]. It tests the sum of weights instead of the maximum score: if the sum is
  // small enough, all scores are below the threshold.
  template <bool kSums>
  struct Part {
    RoundedBlock& block;
    const float* products;
    float* to;
    int64_t key;
    int at;  // first lane in the block
    Floats even, odd, rounded, surprised, middle, high;
    Floats first, second;  // weights of the half that has begun

    HWY_INLINE Part(RoundedBlock& softmax, const float* of_group, int64_t group, int vector)
        : block(softmax),
          products(of_group + vector * kLanes),
          to(softmax.p + (group - softmax.tile) / 2 * kBlock + vector * kLanes),
          key(group),
          at(vector * kLanes) {
      rounded = hn::Load(F32(), block.rounded + at);
      even = odd = surprised = middle = high = first = second = hn::Zero(F32());
    }
    HWY_INLINE void weigh_two_keys(int pair, float factor, Floats& e, Floats& next) {
      const F32 d;
      const float* from = products + 2 * pair * kBlock;
      const Floats scale = hn::Set(d, factor), shift = hn::Load(d, block.m + at);
      const Floats score = hn::Load(d, from) * scale, next_score = hn::Load(d, from + kBlock) * scale;
      e = exp2_shifted(score, shift);
      next = exp2_shifted(next_score, shift);
      if constexpr (kSums) surprised = hn::MulAdd(next, next_score, hn::MulAdd(e, score, surprised));
      const Floats weights = to_bf16_words(e, next);
      hn::Store(weights, d, to + pair * kBlock);
      rounded = add_rounded(weights, rounded);
    }
    HWY_INLINE void begin_half(int half, float factor) { weigh_two_keys(half, factor, first, second); }
    HWY_INLINE void end_half(int half, float factor) {
      Floats e, next;
      weigh_two_keys(half + 2, factor, e, next);
      if constexpr (kSums) high = high + (e + next);
      first = first + e, second = second + next;
      if constexpr (kSums) middle = first + second;
      even = even + first, odd = odd + second;
    }
    // True if a score may exceed the threshold; also true if one is NaN.
    HWY_INLINE bool is_beyond() const { return !hn::AllTrue(F32(), hn::Lt(even + odd, hn::Set(F32(), kHardWeight))); }
    HWY_INLINE void end() {
      const F32 d;
      const Floats sum = even + odd;
      hn::Store(hn::Load(d, block.l + at) + sum, d, block.l + at);
      hn::Store(rounded, d, block.rounded + at);
      if constexpr (kSums) {
        const Floats by_row = hn::MulAdd(hn::Set(d, 4.0F), high, hn::MulAdd(hn::Set(d, 2.0F), middle, odd));
        block.add_far_distance(sum, by_row, key, at);
        block.add_surprise(sum, surprised, at);
      }
    }
  };
  template <bool kSums>
  HWY_NOINLINE void take_beyond(const float* products, float factor, int64_t key, int vector) {
    const F32 d;
    Floats largest = hn::Load(d, products + vector * kLanes) * hn::Set(d, factor);
    for (int r = 1; r < kRows; ++r) largest = hn::Max(largest, hn::Load(d, products + r * kBlock + vector * kLanes) * hn::Set(d, factor));
    raise_vector(vector, largest);
    Part<kSums> part(*this, products, key, vector);
    for (int half = 0; half < kHalves; ++half) part.begin_half(half, factor), part.end_half(half, factor);
    part.end();
  }

  // Processes groups [begin, end); with kSums all of them must be far. The exponentials of one group are interleaved with
  // the products of the next: kStep channels after every two keys. Multiplication on the one hand, and exponentials with
  // rounding, adding and scaling on the other, use different execution units, which would idle in turn if one phase
  // followed the other. kStep is a template argument, because a loop of so few steps would mispredict its end too often.
  template <bool kSums, int kStep>
  HWY_NOINLINE void weave(const ScoreView& view, const float* HWY_RESTRICT qt, const TileSight& sight, int64_t begin, int64_t end) {
    alignas(64) float products[2][kRows * kBlock];
    const auto keep = [](const Scores<kVectors>& s, float* to) CLEARHEAD_INLINE_LAMBDA {
      unroll<kRows * kVectors>([&](auto i) CLEARHEAD_INLINE_LAMBDA { hn::Store(s.c[i], F32(), to + i * kLanes); });
    };
    const auto end_part = [&](auto& part, const float* of_group, int64_t key, int v) CLEARHEAD_INLINE_LAMBDA {
      if (HWY_LIKELY(!part.is_beyond())) return part.end();
      take_beyond<kSums>(of_group, view.product_factor, key, v);
    };
    float *now = products[0], *before = products[1];
    for (int64_t key = begin; key < end; key += kRows) {
      ProductsOf<kVectors> next(qt, RowMajor(sight.keys + (key - sight.tile) * view.key_stride, view.key_stride));
      int64_t left = view.d_k;
      if (key > begin) {
        for (int v = 0; v < kVectors; ++v) {
          Part<kSums> part(*this, before, key - kRows, v);
          for (int half = 0; half < kHalves; ++half) {
            part.begin_half(half, view.product_factor);
            next.template add_channels_of<kStep>();
            part.end_half(half, view.product_factor);
            next.template add_channels_of<kStep>();
          }
          end_part(part, before, key - kRows, v);
        }
        add_run(static_cast<int32_t>(key - kRows - tile), 0, kVectors);
        left -= 2 * kHalves * kVectors * kStep;
      }
      for (; left > 0; --left) next.template add_channels_of<1>();
      keep(next.s, now);
      std::swap(now, before);
    }
    for (int v = 0; v < kVectors; ++v) {
      Part<kSums> part(*this, before, end - kRows, v);
      for (int half = 0; half < kHalves; ++half) part.begin_half(half, view.product_factor), part.end_half(half, view.product_factor);
      end_part(part, before, end - kRows, v);
    }
    add_run(static_cast<int32_t>(end - kRows - tile), 0, kVectors);
  }

  template <bool kSums>
  void weave_by_width(const ScoreView& view, const float* qt, const TileSight& sight, int64_t begin, int64_t end) {
    const int64_t step = view.d_k / (2 * kHalves * kVectors);
    if (step >= 5) return weave<kSums, 5>(view, qt, sight, begin, end);
    if (step >= 3) return weave<kSums, 3>(view, qt, sight, begin, end);
    weave<kSums, kLeastStep>(view, qt, sight, begin, end);
  }

  // TileBlock::mark_hidden for words of two keys.
  template <int V>
  HWY_NOINLINE void mark_hidden_words(float* to) {
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

using Bf16DotBlock = RoundedBlock<false>;
using AmxBlock = RoundedBlock<true>;

inline void add_tile_values(Bf16DotBlock& block, const ValueView& values, int64_t key_length) {
  const float* rows = values.values + block.tile / 2 * values.stride;
  for (int i = 0; i < block.run_count; ++i) {
    const Run& run = block.runs[i];
    const int64_t pairs = (std::min<int64_t>(run.end, key_length - block.tile) - run.begin + 1) / 2;
    const float* p = block.p + run.begin / 2 * kBlock + run.first_vector * kLanes;
    const float* from = rows + run.begin / 2 * values.stride;
    float* o = block.o + run.first_vector * kLanes;
    if (HWY_UNLIKELY(block.careful)) {
      add_run_words_carefully(run, p, from, values.stride, pairs, values.d_v, o);
    } else {
      add_run_values_of<Bf16DotStep>(run.vectors, p, from, values.stride, pairs, values.d_v, o);
    }
  }
}

inline void add_tile_values(AmxBlock& block, const ValueView& values, int64_t) {
  if (block.run_count == 0) return;
  const int vectors = block.queries->vectors;
  const Range of = fill_between_runs(block.runs, block.run_count, vectors, block.amx_step, block.p);
  const float* from = values.values + block.tile / 2 * values.stride;
  add_amx_values(block.p, from, block.amx_step, of, values.d_v, vectors, block.careful, block.o);
}

// Packs one head's values, bf16 [key, d_v], as words (v[2j][c], v[2j + 1][c]), with 0 past the last key: [⌈key / 2⌉][d_v]
// or, for AMX, in the layout of lay_out_for_amx.
template <bool kByAmx>
void interleave_values(const Tensor& v, int64_t batch, int64_t key_head, float* spare, float* to) {
  const auto* row = reinterpret_cast<const uint16_t*>(v.raw()) + batch * v.stride(0) + key_head * v.stride(1);
  if constexpr (kByAmx) return lay_out_for_amx(row, v.stride(2), v.stride(3), v.size(2), v.size(3), spare, to);
  for (int64_t key = 0; key < v.size(2); key += 2, row += 2 * v.stride(2), to += v.size(3)) {
    interleave(row, key + 1 < v.size(2) ? row + v.stride(2) : nullptr, v.stride(3), v.size(3), to);
  }
}

// Rounds the f32 rows of a block to bf16 and writes them to the call's out.
inline void round_rows(const ForwardPlan& plan, int64_t batch, int64_t head, const BlockRange& block, const float* rows) {
  const Tensor& out = plan.call.out;
  auto* to =
      reinterpret_cast<uint16_t*>(plan.low_precision_out) + batch * out.stride(0) + head * out.stride(1) + block.begin * out.stride(2);
  const int64_t step = out.stride(3);
  for (int i = 0; i < block.count; ++i, to += out.stride(2), rows += plan.d_v) {
    if (step == 1) {
      for (int64_t c = 0; c < plan.d_v; ++c) to[c] = rounded_to_bf16(rows[c]);
    } else {
      for (int64_t c = 0; c < plan.d_v; ++c) to[c * step] = rounded_to_bf16(rows[c]);
    }
  }
}

// Each thread interleaves the values of its current head itself. That takes 0.2 % of a head's time and avoids memory
// proportional to the call's values.
template <class Block>
void forward_flash_bf16(ForwardPlan& plan) {
  const int64_t key_heads = plan.problem.heads() / plan.problem.group(), keys = plan.call.v.size(2);
  constexpr bool kByAmx = Block::kAmxOnly;
  const int64_t stride = kByAmx ? round_up(plan.d_v, kSide) : plan.d_v;  // floats from one word of two keys to the next
  std::vector<int64_t> holds(static_cast<size_t>(threads()), -1);        // [thread]: key head whose values are interleaved
  plan.low_precision_out = plan.call.out.mutable_raw();
  plan.call.rows.used = Tensor::empty(plan.call.rows.m.shape());
  plan.used = plan.call.rows.used.template mutable_data<float>();
  for_each_block(plan, kTogether, [&](int64_t batch, int64_t head, std::span<const BlockRange> blocks, int thread) {
    float* values = ThreadScratch::value_words(kByAmx ? laid_out_floats(keys, plan.d_v) : (keys + 1) / 2 * plan.d_v);
    const int64_t of_batch = head / plan.problem.group(), key_head = batch * key_heads + of_batch;
    const int count = static_cast<int>(blocks.size());
    float* rows = ThreadScratch::wide_rows(count * kBlock * plan.d_v);
    if (std::exchange(holds[static_cast<size_t>(thread)], key_head) != key_head)
      interleave_values<kByAmx>(plan.call.v, batch, of_batch, rows, values);
    JobsTogether<BlockJob<Block>> jobs;
    for (int i = 0; i < count; ++i) {
      BlockJob<Block>& job = jobs.emplace_back(plan, batch, head, blocks[i].begin, blocks[i].count, i, count);
      job.values.values = values;
      job.values.stride = stride;
      job.softmax.amx_step = job.view.amx_step;
      for (int row = 0; row < blocks[i].count; ++row) job.out.rows[row] = rows + (i * kBlock + row) * plan.d_v;
    }
    forward_blocks(plan, jobs);
    for (int i = 0; i < count; ++i) round_rows(plan, batch, head, blocks[i], rows + i * kBlock * plan.d_v);
  });
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
