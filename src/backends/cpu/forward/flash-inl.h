// Online softmax over key tiles, with blocks of queries in lanes. A full row of scores is never stored. Included once per
// target.
//
//   scores in registers → stale maximum m → e = 2^(s − m), stored once as P → ℓ += e → O[c] += Σ_j P_j·v_jc
//
// m, the shift of a row, is an integer that changes rarely: immediately if a score exceeds m + kHard, and at the end of a
// key tile if ℓ exceeds kSoftSum. A change multiplies ℓ, O and the tile's P by exact powers of two (simd-inl.h), so the
// bits of a result do not depend on when m changes. Invariant between key tiles: O/ℓ is the exact output over the keys
// seen so far. A row that has seen no key has m = kNone, ℓ = 0, O = 0. Sources: Milakov & Gimelshein 2018; Dao 2023,
// algorithm 1.
//
// Several neighbouring blocks are interleaved by key tile (interleave_key_tiles in score_kernel-inl.h), because the
// keys and values of long texts do not fit in the caches.
//
// If a call requests entropy and distance (Summing), they are computed from two more sums, accumulated while e is in
// registers (c: the score in base 2; r, e_r: the index of a key in its group, and its e):
//   A = Σ e·(c − m)           entropy = ln 2·(log₂ℓ − A/ℓ), where a sink is one more e. A change from m to m' turns A into
//                             (A + (m − m')·ℓ)·2^(m − m').
//   D = Σ e·|position − j|    distance = D/ℓ. A group of keys j₀, j₀ + 1, … that are all before, or all after, every query
//                             adds ±((position − j₀)·Σ e − Σ r·e_r).
//
// ±inf and NaN: the fast path may produce NaN from scores of −inf, or from values of hidden keys that are not finite. A
// block whose results are not all finite is computed again with `careful` set: it then raises −inf to kHidden, marks P of
// hidden (query, key) pairs with −0, and adds values that are not finite only in lanes that see their key. Finite rows
// get the same bits.
#if defined(CLEARHEAD_CPU_FORWARD_FLASH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_FORWARD_FLASH_INL_H_
#undef CLEARHEAD_CPU_FORWARD_FLASH_INL_H_
#else
#define CLEARHEAD_CPU_FORWARD_FLASH_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <span>
#include <type_traits>
#include <vector>

#include "backends/backend.h"
#include "backends/cpu/score/after-inl.h"
#include "backends/cpu/score/score_kernel-inl.h"
#include "backends/cpu/simd/items.h"
#include "backends/cpu/simd/scratch.h"
#include "base/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// P up to 2^64 leaves room for sums and values in f32; with kHard < 40, steep ALiBi would rescale at every tile.
inline constexpr float kHard = 64.0F;
// If a sum of weights 2^(s − m) is below this, no score exceeds m + kHard. Half of 2^kHard, to allow for errors of 2^x.
inline constexpr float kHardWeight = 0x1p63F;
inline constexpr float kSoftSum = 0x1p16F;

// A run of consecutive keys of the tile whose P is stored for the same vectors.
struct Run {
  int32_t begin, end;  // keys, relative to the tile
  int32_t first_vector, vectors;
};

// P of a key tile and the outputs that it is added to. Shared by all normalisers that work key tile by key tile.
struct TileBlock {
  // [key][vector][lane]: the group's scores, during a rescale and if `careful`
  alignas(64) float raw[kRows * kBlock];
  float* p = nullptr;                   // [kKeyTile][kBlock]
  float* o = nullptr;                   // [d_v][kBlock]
  const AfterView* after = nullptr;     // set if factors differ between pairs
  const QueryBlock* queries = nullptr;  // set with `after`
  int64_t d_v = 0, tile = 0;
  bool careful = false;
  int run_count = 0;
  Run runs[kKeyTile / kRows];

  void begin_tile(int64_t first_key) {
    tile = first_key;
    run_count = 0;
  }
  HWY_INLINE void add_run(int32_t key, int first_vector, int vectors) {
    if (run_count > 0 && runs[run_count - 1].first_vector == first_vector && runs[run_count - 1].vectors == vectors &&
        runs[run_count - 1].end == key) {
      runs[run_count - 1].end = key + kRows;
    } else {
      runs[run_count++] = {key, key + kRows, first_vector, vectors};
    }
  }

  template <int V>
  HWY_INLINE void spill(const Scores<V>& s) {
    unroll<kRows * V>([&](auto i) CLEARHEAD_INLINE_LAMBDA { hn::Store(s.c[i], F32(), raw + i * kLanes); });
  }

  // Sets P of hidden pairs to −0. Unlike a weight that underflowed to 0, it must not be multiplied by a value that is not
  // finite.
  template <int V>
  HWY_NOINLINE void mark_hidden(float* to) {
    const F32 d;
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < V; ++v) {
        const Lanes hidden = hn::Lt(hn::Load(d, raw + (r * V + v) * kLanes), hn::Set(d, kVisible));
        float* at = to + r * kBlock + v * kLanes;
        hn::Store(hn::IfThenElse(hidden, hn::Set(d, -0.0F), hn::Load(d, at)), d, at);
      }
    }
  }
  void follow_maximum(int) {}
};

// The softmax state of a block's rows, one per lane. An epilogue of for_each_group.
struct SoftmaxBlock : TileBlock {
  static constexpr bool kSums = false, kTakesTerm = true;
  alignas(64) float m[kBlock], hard[kBlock], l[kBlock];
  // The sum of the weights as rounded to bf16, if P is rounded (flash_bf16-inl.h); else null
  float* used = nullptr;
  alignas(64) float surprise[kBlock], distance[kBlock];  // A and D
  bool sums = false;                                     // whether A and D are wanted
  int64_t first_position = 0, last_position = 0;         // of the block's queries, which are consecutive

  void reset() {
    std::fill(m, m + kBlock, kNone);
    std::fill(hard, hard + kBlock, kNone);
    std::fill(l, l + kBlock, 0.0F);
    std::fill(surprise, surprise + kBlock, 0.0F);
    std::fill(distance, distance + kBlock, 0.0F);
    for (float* at = o; at < o + d_v * kBlock; at += kLanes) {
      hn::Store(hn::Zero(F32()), F32(), at);
      // Keeps the compiler from calling memset, which takes several times as long for 12 KB.
      asm volatile("" ::: "memory");
    }
  }
  // Changes the shift of vector v to `to` in the lanes `moves`, and rescales the state of these lanes.
  HWY_NOINLINE void rescale(int v, Lanes moves, Floats to) {
    const F32 d;
    const Floats old = hn::Load(d, m + v * kLanes);
    to = hn::IfThenElse(moves, to, old);
    // These rows have seen no key, so their state is 0.
    if (hn::AllTrue(d, hn::Or(hn::Not(moves), hn::Eq(old, hn::Set(d, kNone))))) {
      hn::Store(to, d, m + v * kLanes);
      hn::Store(to + hn::Set(d, kHard), d, hard + v * kLanes);
      return;
    }
    // Scales in two steps, because a single factor could underflow even if the number to scale is large.
    const Floats change = hn::Max(hn::Set(d, -250.0F), old - to), half = hn::Floor(change * hn::Set(d, 0.5F)), one = hn::Set(d, 1.0F);
    const Floats f = hn::IfThenElse(moves, scale_by_power(one, half), one);
    const Floats g = hn::IfThenElse(moves, scale_by_power(one, change - half), one);
    const auto scale = [&](float* at) CLEARHEAD_INLINE_LAMBDA { hn::Store(hn::Load(d, at) * f * g, d, at); };
    hn::Store(to, d, m + v * kLanes);
    hn::Store(to + hn::Set(d, kHard), d, hard + v * kLanes);
    if (sums) {
      float* at = surprise + v * kLanes;
      hn::Store(hn::MulAdd(change, hn::Load(d, l + v * kLanes), hn::Load(d, at)), d, at);
      scale(at);
      scale(distance + v * kLanes);
    }
    scale(l + v * kLanes);
    if (used) scale(used + v * kLanes);
    for (int64_t c = 0; c < d_v; ++c) scale(o + c * kBlock + v * kLanes);
    for (int i = 0; i < run_count; ++i) {
      if (v < runs[i].first_vector || v >= runs[i].first_vector + runs[i].vectors) continue;
      if (used) {
        for (int64_t j = runs[i].begin; j < runs[i].end; j += 2) scale_words(p + j / 2 * kBlock + v * kLanes, f, g);
      } else {
        for (int64_t j = runs[i].begin; j < runs[i].end; ++j) scale(p + j * kBlock + v * kLanes);
      }
    }
  }
  // Scales bf16 words by powers of two, which is exact.
  static void scale_words(float* at, Floats f, Floats g) {
    const F32 d;
    const Ints pairs = hn::BitCast(I32(), hn::Load(d, at));
    const Floats even = hn::BitCast(d, hn::ShiftLeft<16>(pairs)), odd = hn::BitCast(d, hn::And(pairs, hn::Set(I32(), -65536)));
    hn::Store(to_bf16_words(even * f * g, odd * f * g), d, at);
  }

  // Changes the shift of lanes in which a score in `raw` exceeds the hard threshold. Other lanes are not changed, so a row
  // does not depend on its neighbours.
  template <int V>
  HWY_NOINLINE void raise(int first_vector) {
    const F32 d;
    for (int v = 0; v < V; ++v) {
      Floats largest = hn::Load(d, raw + v * kLanes);
      for (int r = 1; r < kRows; ++r) largest = hn::Max(largest, hn::Load(d, raw + (r * V + v) * kLanes));
      raise_vector(first_vector + v, largest);
    }
  }
  void raise_vector(int v, Floats largest) {
    const F32 d;
    const Lanes moves = hn::Gt(largest, hn::Load(d, hard + v * kLanes));
    if (!hn::AllFalse(d, moves)) rescale(v, moves, hn::Ceil(largest));
  }

  // Called between tiles, when P is no longer needed: rescales sums that have become large to [1, 2). A
  // maximum far above m makes the sum large, so m follows the maximum.
  void follow_maximum(int vectors) {
    const F32 d;
    run_count = 0;
    for (int v = 0; v < vectors; ++v) {
      const Floats sum = hn::Load(d, l + v * kLanes);
      const Lanes moves = hn::Gt(sum, hn::Set(d, kSoftSum));
      if (HWY_LIKELY(hn::AllFalse(d, moves))) continue;
      const Ints exponent = hn::ShiftRight<23>(hn::BitCast(I32(), sum)) - hn::Set(I32(), 127);
      rescale(v, moves, hn::Load(d, m + v * kLanes) + hn::ConvertTo(d, exponent));
    }
  }

  // Changes the shift in lanes where the group's scores exceed the hard threshold.
  template <int V>
  HWY_INLINE void follow_scores(Scores<V>& s, int first_vector) {
    const F32 d;
    const int first = first_vector * kLanes;
    Lanes above = hn::FirstN(d, 0);
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      Floats largest = s.c[v];
      unroll<kRows - 1>([&](auto r) CLEARHEAD_INLINE_LAMBDA { largest = hn::Max(largest, s.c[(r + 1) * V + v]); });
      above = hn::Or(above, hn::Gt(largest, hn::Load(d, hard + first + v * kLanes)));
    });
    if (HWY_UNLIKELY(!hn::AllFalse(d, above))) {
      spill(s);
      raise<V>(first_vector);
      unroll<kRows * V>([&](auto i) CLEARHEAD_INLINE_LAMBDA { s.c[i] = hn::Load(d, raw + i * kLanes); });
    }
    if (HWY_UNLIKELY(careful)) spill(s);
  }
  // Adds the group's e to ℓ, summed by a fixed tree over its keys.
  template <int V>
  HWY_INLINE void add_to_sum(Scores<V>& s, int v, float* sum) {
    const F32 d;
    unroll<kRows / 2>([&](auto r) CLEARHEAD_INLINE_LAMBDA { s.c[r * V + v] = s.c[r * V + v] + s.c[(r + kRows / 2) * V + v]; });
    unroll<kRows / 4>([&](auto r) CLEARHEAD_INLINE_LAMBDA { s.c[r * V + v] = s.c[r * V + v] + s.c[(r + kRows / 4) * V + v]; });
    if constexpr (kRows == 8) s.c[v] = s.c[v] + s.c[V + v];
    hn::Store(hn::Load(d, sum) + s.c[v], d, sum);
  }

  // Returns true if the group is far enough from every query of the block to compute its distances in closed form without
  // cancellation.
  bool is_far(int64_t key) const { return key + 2 * kRows <= first_position || key >= last_position + kRows; }
  // Adds the distances of a group for which is_far() is false to the rows' sums of distances D. Call it before add_to_sum, which
  // overwrites the weights.
  template <int V>
  HWY_INLINE void add_near_distance(const Scores<V>& s, int v, int64_t key, int at) {
    const F32 d;
    const Floats ahead = hn::Load(d, queries->position + at) - hn::Set(d, static_cast<float>(key));
    Floats sum = hn::Load(d, distance + at);
    unroll<kRows>(
        [&](auto r) CLEARHEAD_INLINE_LAMBDA { sum = hn::MulAdd(s.c[r * V + v], hn::Abs(ahead - hn::Set(d, static_cast<float>(r))), sum); });
    hn::Store(sum, d, distance + at);
  }
  // Adds a far group to D, from the partial sums that add_to_sum leaves in s: row 0 holds Σ e, row 1 the sum over odd r,
  // and the other rows what they held before the last two levels of the tree.
  template <int V>
  HWY_INLINE void add_far_distance(const Scores<V>& s, int v, int64_t key, int at) {
    const F32 d;
    Floats by_row = hn::MulAdd(hn::Set(d, 2.0F), s.c[2 * V + v] + s.c[3 * V + v], s.c[V + v]);
    if constexpr (kRows == 8) {
      by_row = hn::MulAdd(hn::Set(d, 4.0F), (s.c[4 * V + v] + s.c[5 * V + v]) + (s.c[6 * V + v] + s.c[7 * V + v]), by_row);
    }
    add_far_distance(s.c[v], by_row, key, at);
  }
  // The same, given Σ e and Σ r·e_r.
  HWY_INLINE void add_far_distance(Floats sum, Floats by_row, int64_t key, int at) {
    const F32 d;
    const Floats ahead = hn::Load(d, queries->position + at) - hn::Set(d, static_cast<float>(key));
    hn::Store(hn::Load(d, distance + at) + hn::Abs(hn::MulSub(ahead, sum, by_row)), d, distance + at);
  }
  // Adds a group to A, given Σ e and Σ e·c.
  HWY_INLINE void add_surprise(Floats sum, Floats surprised, int at) {
    const F32 d;
    hn::Store(hn::Load(d, surprise + at) + hn::NegMulAdd(hn::Load(d, m + at), sum, surprised), d, surprise + at);
  }

  // Adds a group to ℓ and, with kSums, to A and D. surprised: the group's Σ e·c.
  template <bool kSums, int V>
  HWY_INLINE void add_sums(Scores<V>& s, int v, int64_t key, int at, [[maybe_unused]] Floats surprised) {
    if constexpr (!kSums) return add_to_sum<V>(s, v, l + at);
    const bool far = is_far(key);
    if (HWY_UNLIKELY(!far)) add_near_distance<V>(s, v, key, at);
    add_to_sum<V>(s, v, l + at);
    if (HWY_LIKELY(far)) add_far_distance<V>(s, v, key, at);
    add_surprise(s.c[v], surprised, at);
  }

  template <int V>
  HWY_INLINE void operator()(Scores<V>& s, int64_t key, int first_vector) {
    take<false>(s, key, first_vector);
  }
  template <bool kSums, int V>
  HWY_INLINE void take(Scores<V>& s, int64_t key, int first_vector) {
    const F32 d;
    const int first = first_vector * kLanes;
    follow_scores(s, first_vector);
    const int32_t in_tile = static_cast<int32_t>(key - tile);
    float* to = p + in_tile * kBlock + first;
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      const Floats shift = hn::Load(d, m + first + v * kLanes);
      Floats surprised = hn::Zero(d);
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        const Floats c = s.c[r * V + v];
        s.c[r * V + v] = exp2_shifted(c, shift);
        hn::Store(s.c[r * V + v], d, to + r * kBlock + v * kLanes);
        if constexpr (kSums) surprised = hn::MulAdd(s.c[r * V + v], c, surprised);
      });
      add_sums<kSums, V>(s, v, key, first + v * kLanes, surprised);
    });
    if (HWY_UNLIKELY(after != nullptr)) apply_after(*after, *queries, key, first_vector, V, to);
    if (HWY_UNLIKELY(careful)) mark_hidden<V>(to);
    add_run(in_tile, first_vector, V);
  }
};

// A block that also accumulates entropy and distance.
template <class Block>
struct Summing : Block {
  static constexpr bool kSums = true;
  template <int V>
  HWY_INLINE void operator()(Scores<V>& s, int64_t key, int first_vector) {
    this->template take<true>(s, key, first_vector);
  }
};

// --- values ---------------------------------------------------------------------------------------------------------

// o[C channels][V vectors] += Σ_j p[j]·values[j][C channels], keys ascending. With Bf16DotStep, j counts words of two
// keys.
template <int C, int V, class Step>
HWY_INLINE void add_values(const float* HWY_RESTRICT p, const float* HWY_RESTRICT values, int64_t stride, int64_t keys,
                           float* HWY_RESTRICT o) {
  const F32 d;
  Floats sum[C * V];
  unroll<C>([&](auto c) CLEARHEAD_INLINE_LAMBDA {
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { sum[c * V + v] = hn::Load(d, o + c * kBlock + v * kLanes); });
  });
#pragma GCC unroll 2
  for (int64_t j = 0; j < keys; ++j) {
    Floats weight[V];
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { weight[v] = hn::Load(d, p + v * kLanes); });
    unroll<C>([&](auto c) CLEARHEAD_INLINE_LAMBDA {
      const Floats value = hn::Set(d, values[c]);
      unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { sum[c * V + v] = Step()(value, weight[v], sum[c * V + v]); });
    });
    p += kBlock;
    values += stride;
  }
  unroll<C>([&](auto c) CLEARHEAD_INLINE_LAMBDA {
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { hn::Store(sum[c * V + v], d, o + c * kBlock + v * kLanes); });
  });
}

// The same for all channels of one run. The last channels are computed in groups of four, two and one.
template <int V, class Step = DotStep>
HWY_NOINLINE void add_run_values(const float* p, const float* values, int64_t stride, int64_t keys, int64_t d_v, float* o) {
  int64_t c = 0;
  for (; c + kColumns <= d_v; c += kColumns) add_values<kColumns, V, Step>(p, values + c, stride, keys, o + c * kBlock);
  if constexpr (kColumns == 8) {
    for (; c + 4 <= d_v; c += 4) add_values<4, V, Step>(p, values + c, stride, keys, o + c * kBlock);
  }
  for (; c + 2 <= d_v; c += 2) add_values<2, V, Step>(p, values + c, stride, keys, o + c * kBlock);
  for (; c < d_v; ++c) add_values<1, V, Step>(p, values + c, stride, keys, o + c * kBlock);
}

template <class Step = DotStep>
HWY_INLINE void add_run_values_of(int vectors, const float* p, const float* values, int64_t stride, int64_t keys, int64_t d_v, float* o) {
  if (vectors == 3) return add_run_values<3, Step>(p, values, stride, keys, d_v, o);
  if (vectors == 2) return add_run_values<2, Step>(p, values, stride, keys, d_v, o);
  add_run_values<1, Step>(p, values, stride, keys, d_v, o);
}

// The same chains, but a value that is not finite is added only in lanes that see its key.
inline HWY_NOINLINE void add_run_values_carefully(const Run& run, const float* p, const float* values, int64_t stride, int64_t keys,
                                                  int64_t d_v, float* o) {
  const F32 d;
  for (int64_t j = 0; j < keys; ++j) {
    for (int v = 0; v < run.vectors; ++v) {
      const Floats weight = hn::Load(d, p + j * kBlock + v * kLanes);
      const Lanes seen = hn::RebindMask(d, hn::Ne(hn::BitCast(I32(), weight), hn::Set(I32(), INT32_MIN)));  // not −0
      for (int64_t c = 0; c < d_v; ++c) {
        const float value = values[j * stride + c];
        float* at = o + c * kBlock + v * kLanes;
        const Floats old = hn::Load(d, at), sum = hn::MulAdd(hn::Set(d, value), weight, old);
        hn::Store(std::isfinite(value) ? sum : hn::IfThenElse(seen, sum, old), d, at);
      }
    }
  }
}

// The same for words of two keys.
inline HWY_NOINLINE void add_run_words_carefully(const Run& run, const float* p, const float* values, int64_t stride, int64_t pairs,
                                                 int64_t d_v, float* o) {
  const F32 d;
  const I32 di;
  for (int64_t j = 0; j < pairs; ++j) {
    for (int v = 0; v < run.vectors; ++v) {
      const Floats weight = hn::Load(d, p + j * kBlock + v * kLanes);
      const Ints seen = seen_halves(weight);
      for (int64_t c = 0; c < d_v; ++c) {
        float* at = o + c * kBlock + v * kLanes;
        const Ints value = hn::BitCast(di, hn::Set(d, values[j * stride + c]));
        hn::Store(dot_bf16(hn::BitCast(d, hn::And(value, seen)), weight, hn::Load(d, at)), d, at);
      }
    }
  }
}

inline void add_tile_values(TileBlock& block, const ValueView& values, int64_t key_length) {
  if (block.run_count == 0) return;
  const float* rows = values.rows(block.tile, std::min<int64_t>(kKeyTile, key_length - block.tile));
  for (int i = 0; i < block.run_count; ++i) {
    const Run& run = block.runs[i];
    const int64_t keys = std::min<int64_t>(run.end, key_length - block.tile) - run.begin;
    const float* p = block.p + run.begin * kBlock + run.first_vector * kLanes;
    const float* from = rows + run.begin * values.stride;
    float* o = block.o + run.first_vector * kLanes;
    if (HWY_UNLIKELY(block.careful)) {
      add_run_values_carefully(run, p, from, values.stride, keys, values.d_v, o);
    } else {
      add_run_values_of(run.vectors, p, from, values.stride, keys, values.d_v, o);
    }
  }
}

// o += Σ_j P_j·C[δ]: sums the tile's weights by offset, then multiplies the sums by the table's rows, as weights by
// values.
inline HWY_NOINLINE void add_offset_values(const TileContext& in, TileBlock& block) {
  if (block.run_count == 0) return;
  const auto keys_of = [&](const Run& run) {
    return Range{block.tile + run.begin, std::min<int64_t>(block.tile + run.end, in.view.key_length)};
  };
  const OffsetSpan span(in.view, in.block, {keys_of(block.runs[0]).begin, keys_of(block.runs[block.run_count - 1]).end});
  const float* sums = weights_by_offset(in.view, span, in.scratch, [&](auto take) {
    for (const Run* run = block.runs; run < block.runs + block.run_count; ++run) {
      take(keys_of(*run), run->first_vector * kLanes, (run->first_vector + run->vectors) * kLanes, block.p + run->begin * kBlock);
    }
  });
  add_run_values<kVectors>(sums, in.view.relative.values + span.first * block.d_v, block.d_v, span.count, block.d_v, block.o);
}

// --- one block ------------------------------------------------------------------------------------------------------

// The sink logit in base 2; in double, because the error bound of scores does not cover its rounding.
inline double sink_of(const ScoreView& view) { return in_base_2(static_cast<double>(*view.sink)); }
inline float sink_share(double sink, float m) { return static_cast<float>(std::exp2(sink - static_cast<double>(m))); }

// Adds the sink to each row's sum. Rows that saw no key get m = −∞ and ℓ = 0. Reuses `hard`
// for the factor on O: the head's factor divided by ℓ (by `used` if P is rounded), or 0.
inline void finish_rows(const ScoreView& view, int vectors, SoftmaxBlock& softmax) {
  const F32 d;
  softmax.run_count = 0;
  for (int v = 0; v < vectors; ++v) {
    const int at = v * kLanes;
    const Floats zero = hn::Zero(d);
    // ℓ is 0 only if the row saw no key: the largest score of a row adds about 1. (NaN is not 0 either.)
    const Lanes empty = hn::Eq(hn::Load(d, softmax.l + at), zero);
    if (view.sink) {
      const double sink = sink_of(view);
      const Floats top = hn::Set(d, static_cast<float>(std::ceil(sink)));
      const Lanes moves = hn::AndNot(empty, hn::Gt(top, hn::Load(d, softmax.m + at) + hn::Set(d, kHard)));
      if (!hn::AllFalse(d, moves)) softmax.rescale(v, moves, top);
      for (int i = at; i < at + kLanes; ++i) {
        const float share = sink_share(sink, softmax.m[i]);
        softmax.l[i] += share;
        softmax.surprise[i] += share == 0 ? 0 : share * static_cast<float>(sink - static_cast<double>(softmax.m[i]));
        if (softmax.used) softmax.used[i] += share;
      }
    }
    const Floats divisor = hn::Load(d, (softmax.used ? softmax.used : softmax.l) + at);
    const Floats l = hn::IfThenElse(empty, zero, hn::Load(d, softmax.l + at));
    const Floats minus_infinity = hn::Set(d, -std::numeric_limits<float>::infinity());
    hn::Store(l, d, softmax.l + at);
    if (softmax.used) hn::Store(hn::IfThenElse(empty, zero, divisor), d, softmax.used + at);
    hn::Store(hn::IfThenElse(empty, minus_infinity, hn::Load(d, softmax.m + at)), d, softmax.m + at);
    hn::Store(hn::IfThenElse(empty, zero, hn::Set(d, view.after.factor) / divisor), d, softmax.hard + at);
  }
}

// --- the call -------------------------------------------------------------------------------------------------------

/// The data that a forward call resolves before its parallel loop.
struct ForwardPlan {
  const ForwardCall& call;
  ScoreProblem problem;
  // f32, row-major with adjacent channels. Undefined for pages, and if each thread interleaves the values (flash_bf16-inl.h).
  Tensor values;
  Tensor wide;  // out in f32, any strides; undefined if blocks round their rows themselves
  int64_t rows = 0, d_v = 0;
  float *out = nullptr, *m = nullptr, *l = nullptr, *used = nullptr;
  float *entropy = nullptr, *distance = nullptr;  // set if the driver accumulates them itself
  std::byte* low_precision_out = nullptr;         // out in bf16, used instead of `wide`

  ForwardPlan(const ForwardCall& forward, const ForwardChoice& choice)
      : call(forward),
        problem(forward.spec, forward.q, forward.keys, 0, forward.q.size(2), choice.products),
        rows(forward.q.size(2)),
        d_v(forward.out.size(3)) {
    if (!takes_bf16_values(choice.driver)) set_wide(forward.v, forward.out);
    m = forward.rows.m.mutable_data<float>();
    l = forward.rows.l.mutable_data<float>();
  }
  bool wants_sums() const { return call.entropy || call.distance; }
  void take_sums() {
    if (call.entropy) entropy = call.entropy->mutable_data<float>();
    if (call.distance) distance = call.distance->mutable_data<float>();
  }
  bool has_sums() const { return entropy || distance; }
  void set_wide(const Tensor& v, Tensor& to) {
    if (v.defined()) values = d_v <= 1 || v.stride(3) == 1 ? v : v.contiguous();
    wide = to;
    out = to.mutable_data<float>();
  }
  ValueView value_view(int64_t batch, const ScoreView& view) const {
    ValueView out_view;
    out_view.d_v = out_view.stride = d_v;
    out_view.pages = view.value_pages;
    out_view.page_dtype = view.page_dtype;
    out_view.page_keys = view.page_keys;
    out_view.key_head = view.key_head;
    if (!values.defined()) return out_view;
    out_view.values = values.data<float>() + batch * values.stride(0) + view.key_head * values.stride(1);
    out_view.stride = values.stride(2);
    return out_view;
  }
  float* out_row(int64_t batch, int64_t head, int64_t row) const {
    return out + batch * wide.stride(0) + head * wide.stride(1) + row * wide.stride(2);
  }
  int64_t out_channel() const { return d_v <= 1 ? 1 : wide.stride(3); }
  int64_t stats_row(int64_t batch, int64_t head, int64_t row) const { return (batch * problem.heads() + head) * rows + row; }
};

// The computation of rows [begin, begin + count) of one head, on one thread and in its scratch memory. Interleaved blocks
// share the scratch for one key tile; the rest of their memory is separate, at index `place`.
template <class Block = SoftmaxBlock>
struct BlockJob {
  ScoreView view;
  ValueView values;
  QueryBlock queries;
  Block softmax;
  TileScratch scratch;
  OutputRows out;
  float* spare = nullptr;
  int64_t first_row = 0;  // index in the row statistics
  int64_t tile = 0;       // the next key tile
  int64_t last = 0;       // end of the keys

  BlockJob(const ForwardPlan& plan, int64_t batch, int64_t head, int64_t begin, int count, int place = 0, int places = 1)
      : view(plan.problem.view(batch, head)), values(plan.value_view(batch, view)), first_row(plan.stats_row(batch, head, begin)) {
    const int64_t qt_floats = view.d_k * kBlock, p_floats = kKeyTile * kBlock, o_floats = round_up(plan.d_v, 16) * kBlock;
    const int64_t own_floats = qt_floats + o_floats, shared_floats = p_floats + round_up(plan.d_v, 16) + tile_scratch_floats(view);
    float* memory = ThreadScratch::floats(places * own_floats + shared_floats);
    queries.qt = memory + place * own_floats;
    softmax.o = queries.qt + qt_floats;
    softmax.p = memory + places * own_floats;
    softmax.d_v = plan.d_v;
    spare = softmax.p + p_floats;
    scratch = make_tile_scratch(view, spare + round_up(plan.d_v, 16));
    int64_t rows[kBlock];
    for (int i = 0; i < count; ++i) rows[i] = begin + i;
    if (plan.out) out.channel = plan.out_channel();
    for (int i = 0; i < count && plan.out; ++i) out.rows[i] = plan.out_row(batch, head, begin + i);
    pack_queries(view, rows, count, queries);
    if (view.after.is_by_pair()) softmax.after = &view.after;
    softmax.queries = &queries;
    if constexpr (std::is_base_of_v<SoftmaxBlock, Block>) {
      softmax.sums = plan.has_sums();
      softmax.first_position = static_cast<int64_t>(queries.position[0]);
      softmax.last_position = static_cast<int64_t>(queries.position[count - 1]);
    }
  }
  BlockJob(const BlockJob&) = delete;  // members point to one another
  BlockJob& operator=(const BlockJob&) = delete;

  /// Attends to those of `keys` that the block sees. keys.begin is a multiple of kKeyTile.
  void attend(Range keys, bool careful) {
    open(keys, careful);
    while (tile < last) take_tile();
  }
  /// The same tile by tile: after open(), call take_tile() while tile < last.
  void open(Range keys, bool careful) {
    scratch.careful = softmax.careful = careful;
    softmax.reset();
    last = std::min<int64_t>(queries.last_key(), keys.end);
    tile = next_tile(view, queries, std::max(keys.begin, queries.first_key() / kKeyTile * kKeyTile), last);
  }
  void take_tile() {
    const TileSight sight = prepare_tile({view, queries, scratch}, tile);
    if (!sight.empty()) {
      softmax.begin_tile(tile);
      for_each_group({view, queries, scratch}, sight, softmax);
      add_tile_values(softmax, values, view.key_length);
      if (HWY_UNLIKELY(view.relative.values != nullptr)) add_offset_values({view, queries, scratch}, softmax);
      softmax.follow_maximum(queries.vectors);
    }
    tile = next_tile(view, queries, tile + kKeyTile, last);
  }

  // Writes the results. Returns whether all of them are finite.
  bool finish(const ForwardPlan& plan) {
    finish_rows(view, queries.vectors, softmax);
    std::copy(softmax.m, softmax.m + queries.count, plan.m + first_row);
    std::copy(softmax.l, softmax.l + queries.count, plan.l + first_row);
    if (plan.used) std::copy(softmax.used, softmax.used + queries.count, plan.used + first_row);
    const bool finite = !plan.has_sums() || write_sums(plan);
    return store_outputs(softmax.o, softmax.hard, queries, plan.d_v, out, spare) && finite;
  }
  // Returns whether all entropies are finite. A score of −∞ may make A NaN although the output is finite.
  bool write_sums(const ForwardPlan& plan) const {
    bool finite = true;
    for (int i = 0; i < queries.count; ++i) {
      // A row that saw no key gets zeros.
      const double l = static_cast<double>(softmax.l[i]), share = l == 0 ? 0 : 1 / l;
      const double nats = l == 0 ? 0 : std::numbers::ln2 * (std::log2(l) - static_cast<double>(softmax.surprise[i]) * share);
      if (plan.entropy) plan.entropy[first_row + i] = static_cast<float>(nats < 0 ? 0 : nats);
      if (plan.distance) plan.distance[first_row + i] = static_cast<float>(static_cast<double>(softmax.distance[i]) * share);
      finite = finite && nats - nats == 0;
    }
    return finite;
  }
};

// Computes interleaved blocks. The bits of a row do not depend on which blocks are interleaved.
template <class Block>
void forward_blocks(const ForwardPlan& plan, JobsTogether<BlockJob<Block>>& jobs) {
  for (BlockJob<Block>& job : jobs) job.open({0, job.view.key_length}, false);
  interleave_key_tiles(jobs);
  for (BlockJob<Block>& job : jobs) {
    if (job.finish(plan)) continue;
    job.attend({0, job.view.key_length}, true);
    job.finish(plan);
  }
}

struct BlockRange {
  int64_t begin;
  int count;
  int64_t work;  // estimated number of (query, key) pairs that the band shows
};

// Splits rows into blocks, sorted by work, most first.
inline std::vector<BlockRange> split_rows(const ScoreView& view, int64_t rows) {
  std::vector<BlockRange> blocks;
  for (int64_t begin = 0; begin < rows;) {
    const int count = rows_of_block(rows - begin);
    int64_t work = 0;
    for (const int64_t row : {begin, begin + count - 1}) work += view.band_of(view.query_of(row)).size();
    blocks.push_back({begin, count, work * count / 2});
    begin += count;
  }
  std::stable_sort(blocks.begin(), blocks.end(), [](const BlockRange& a, const BlockRange& b) { return a.work > b.work; });
  return blocks;
}

// Calls f(batch, head, blocks, thread) with up to `together` neighbouring blocks, or with fewer if there would be too few
// items for all threads.
template <class F>
void for_each_block(const ForwardPlan& plan, int together, F&& f) {
  constexpr int64_t kItems = 16;  // items per thread, so that threads finish at about the same time
  const std::vector<BlockRange> blocks = split_rows(plan.problem.view(0, 0), plan.rows);
  const int64_t heads = plan.problem.batch() * plan.problem.heads(), per_head = static_cast<int64_t>(blocks.size());
  const int64_t step = std::clamp<int64_t>(heads * per_head / (kItems * threads()), 1, together), items = (per_head + step - 1) / step;
  // Heads are computed one after another, so that a head's keys stay in cache. Within a head the longest blocks come
  // first, so that the last head ends with short ones.
  for_items(heads * items, [&](int64_t item, int thread) {
    const int64_t head = item / items, begin = item % items * step;
    const std::span<const BlockRange> taken(blocks.data() + begin, static_cast<size_t>(std::min(step, per_head - begin)));
    f(head / plan.problem.heads(), head % plan.problem.heads(), taken, thread);
  });
}

template <class Block = SoftmaxBlock>
void forward_flash(const ForwardPlan& plan) {
  // A tile's packed biases are as large as its P. The prefetched biases of many interleaved blocks would leave L2
  // before they are packed.
  const int together = packed_terms(plan.problem.view(0, 0)) > 0 ? 2 : kTogether;
  for_each_block(plan, together, [&](int64_t batch, int64_t head, std::span<const BlockRange> blocks, int) {
    JobsTogether<BlockJob<Block>> jobs;
    const int count = static_cast<int>(blocks.size());
    for (int i = 0; i < count; ++i) jobs.emplace_back(plan, batch, head, blocks[i].begin, blocks[i].count, i, count);
    forward_blocks(plan, jobs);
  });
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
