// AMX: computes scores, and weights times values, as products of 16 × 16 tiles if q, k and v are bf16. Included once per
// target.
//
//   C[16 × 16] += A[16 × 2·step]·B[2·step × 16]   step: words of two bf16 in a row of A, 16 or 8 (ScoreView::amx_step)
//
//            A                                     B                                            C
//   scores   the rows of 16 keys, as stored        queries in lanes, words of two channels      [key][query]
//                                                  (pack_queries)
//   values   16 channels of V, words of two keys   P, words of two keys (RoundedBlock)          o [channel][query]
//            (lay_out_for_amx)
//
// One TDPBF16PS adds e + o to each c. e is the chain of fused multiply-adds over the even halves of the words, from 0,
// and o the chain over the odd halves. Products are exact, and subnormals are treated as zero. This is how the processor's
// documentation defines the instruction. The same chains are computed without AMX, with the same bits, in decoding
// (AmxStep) and where a tile would multiply numbers by weights of hidden pairs.
#if defined(CLEARHEAD_CPU_SCORE_AMX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_SCORE_AMX_INL_H_
#undef CLEARHEAD_CPU_SCORE_AMX_INL_H_
#else
#define CLEARHEAD_CPU_SCORE_AMX_INL_H_
#endif

#include <algorithm>
#include <type_traits>
#include <utility>

#include "backends/cpu/score/pack-inl.h"
#include "backends/cpu/score/rule-inl.h"
#include "backends/cpu/score/steps-inl.h"
#include "backends/cpu/simd/amx.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

inline constexpr bool kHasAmx = HWY_TARGET == HWY_AVX3;
inline constexpr int kSide = 16;  // rows of an AMX tile
static_assert(kAmxKeys == 2 * kSide);

// Inline assembly is used for the reason given in bf16-inl.h. Tiles 0 to 5 are C, for three vectors of queries and two
// tiles of keys or channels: six independent chains hide the latency of TDPBF16PS. Tile 6 is A, tile 7 is B.
#if HWY_TARGET == HWY_AVX3
template <int kRegister>
HWY_INLINE void amx_load(const void* from, int64_t row_bytes) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(row_bytes), "i"(kRegister) : "memory");
}
template <int kRegister>
HWY_INLINE void amx_store(void* to, int64_t row_bytes) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(row_bytes), "i"(kRegister) : "memory");
}
template <int kRegister>
HWY_INLINE void amx_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(kRegister));
}
template <int kRegister>
HWY_INLINE void amx_dot() {
  asm volatile("tdpbf16ps %%tmm7, %%tmm6, %%tmm%c0" ::"i"(kRegister));
}
#else
template <int kRegister>
HWY_INLINE void amx_load(const void*, int64_t) {}
template <int kRegister>
HWY_INLINE void amx_store(void*, int64_t) {}
template <int kRegister>
HWY_INLINE void amx_zero() {}
template <int kRegister>
HWY_INLINE void amx_dot() {}
#endif
inline constexpr int64_t kBlockBytes = kBlock * static_cast<int64_t>(sizeof(float));

// Adds the product of one A (two with kTwo) and B to the C of V vectors. `pairs` [word][kBlock] holds the B of all
// vectors.
template <int V, bool kTwo>
HWY_INLINE void add_products(const float* first, const float* second, int64_t row_bytes, const float* pairs) {
  amx_load<6>(first, row_bytes);
  unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
    amx_load<7>(pairs + v * kLanes, kBlockBytes);
    amx_dot<v>();
  });
  if constexpr (!kTwo) return;
  amx_load<6>(second, row_bytes);
  unroll<V>([&](auto i) CLEARHEAD_INLINE_LAMBDA {  // in reverse order: the last B is still loaded
    constexpr int v = V - 1 - i;
    if constexpr (v < V - 1) amx_load<7>(pairs + v * kLanes, kBlockBytes);
    amx_dot<3 + v>();
  });
}
template <int V, bool kTwo>
HWY_INLINE void store_products(float* first, float* second) {
  unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { amx_store<v>(first + v * kLanes, kBlockBytes); });
  if constexpr (kTwo) unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { amx_store<3 + v>(second + v * kLanes, kBlockBytes); });
}

// --- scores ---------------------------------------------------------------------------------------------------------

// Calls f(std::integral_constant<int, vectors>).
template <class F>
HWY_INLINE void with_vectors(int vectors, F&& f) {
  if (vectors == 3) return f(std::integral_constant<int, 3>{});
  if (vectors == 2) return f(std::integral_constant<int, 2>{});
  f(std::integral_constant<int, 1>{});
}

// Rows of bf16 words: a head's keys, or its values. `tail` is scratch for a group of rows that extends past the last.
struct WordRows {
  const float* first;
  int64_t stride, words, count;
  float* tail;  // [kAmxKeys][words]
};

// Multiplies kAmxKeys rows by V vectors of queries, qt [words][kBlock], into to[row][kBlock]. Each query's sums start at
// from[query], or at 0 if `from` is null.
template <int V>
HWY_NOINLINE void multiply_whole_rows(const float* rows, int64_t stride, const float* qt, int64_t words, int64_t step, const float* from,
                                      float* to) {
  unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
    if (from) {
      amx_load<v>(from + v * kLanes, 0);
      amx_load<3 + v>(from + v * kLanes, 0);
    } else {
      amx_zero<v>();
      amx_zero<3 + v>();
    }
  });
  for (int64_t at = 0; at < words; at += step) {
    add_products<V, true>(rows + at, rows + kSide * stride + at, stride * 4, qt + at * kBlock);
  }
  store_products<V, true>(to, to + kSide * kBlock);
}

// The same for rows [begin, begin + kAmxKeys). Past the end, the last row is repeated; those scores are hidden.
template <int V>
HWY_INLINE void multiply_rows(const WordRows& rows, int64_t begin, const float* qt, int64_t step, const float* from, float* to) {
  if (HWY_LIKELY(begin + kAmxKeys <= rows.count))
    return multiply_whole_rows<V>(rows.first + begin * rows.stride, rows.stride, qt, rows.words, step, from, to);
  for (int64_t r = 0; r < kAmxKeys; ++r)
    std::copy_n(rows.first + std::min(begin + r, rows.count - 1) * rows.stride, rows.words, rows.tail + r * rows.words);
  multiply_whole_rows<V>(rows.tail, rows.words, qt, rows.words, step, from, to);
}

HWY_INLINE WordRows key_rows(const ScoreView& view, const TileScratch& scratch) {
  return {view.keys, view.key_stride, view.d_k, view.key_length, scratch.amx_tail};
}

// Must be called before the groups of a key tile are computed.
HWY_INLINE void open_amx(const ScoreView& view, const TileScratch& scratch) {
  configure_amx(view.amx_step);
  *scratch.amx_key = -1;
}

// Loads kRows scores of V vectors from [key][kBlock], times `factor`.
template <int V>
HWY_INLINE void load_products(const float* from, float factor, Scores<V>& s) {
  const F32 d;
  const Floats scale = hn::Set(d, factor);
  unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { s.c[r * V + v] = hn::Load(d, from + r * kBlock + v * kLanes) * scale; });
  });
}

// Computes the scores of the group of kRows keys from `key`. One AMX product covers kAmxKeys keys, that is, several
// groups, which are visited in order; it is computed at the first of them.
template <int V>
HWY_INLINE void amx_products(const TileContext& in, int64_t key, int first_vector, Scores<V>& s) {
  const int64_t first = key / kAmxKeys * kAmxKeys;
  if (*in.scratch.amx_key != first) {
    *in.scratch.amx_key = first;
    with_vectors(in.block.vectors, [&](auto vectors) {
      multiply_rows<vectors>(key_rows(in.view, in.scratch), first, in.block.qt, in.view.amx_step, nullptr, in.scratch.amx);
    });
  }
  load_products(in.scratch.amx + (key - first) * kBlock + first_vector * kLanes, in.view.product_factor, s);
}

// plain_groups with AMX. If the epilogue has a function take_products, that function reads the products from memory
// itself; it is called only here. kSums: the epilogue also accumulates entropy and distance.
template <int V, class Epilogue>
HWY_NOINLINE void plain_amx(const TileContext& in, int64_t begin, int64_t end, Epilogue& epilogue) {
  const WordRows keys = key_rows(in.view, in.scratch);
  for (int64_t first = begin / kAmxKeys * kAmxKeys, key = begin; key < end; first += kAmxKeys) {
    multiply_rows<V>(keys, first, in.block.qt, in.view.amx_step, nullptr, in.scratch.amx);
    for (; key < std::min(first + kAmxKeys, end); key += kRows) {
      const float* products = in.scratch.amx + (key - first) * kBlock;
      if constexpr (requires { epilogue.template take_products<V, Epilogue::kSums>(products, in.view.product_factor, key); }) {
        epilogue.template take_products<V, Epilogue::kSums>(products, in.view.product_factor, key);
      } else {
        Scores<V> s;
        load_products(products, in.view.product_factor, s);
        epilogue(s, key, 0);
      }
    }
  }
  *in.scratch.amx_key = -1;
}

// --- the same chain, keys in lanes ----------------------------------------------------------------------------------

HWY_INLINE Floats even_of(Floats pairs) { return hn::BitCast(F32(), hn::ShiftLeft<16>(hn::BitCast(I32(), pairs))); }
HWY_INLINE Floats odd_of(Floats pairs) { return hn::BitCast(F32(), hn::And(hn::BitCast(I32(), pairs), hn::Set(I32(), -65536))); }

// Clears the halves of a value's word that belong to hidden pairs, as marked in `weights` (see mark_hidden).
HWY_INLINE Floats seen_of(Floats value, Floats weights) {
  return hn::BitCast(F32(), hn::And(hn::BitCast(I32(), value), seen_halves(weights)));
}

struct AmxSum {
  Floats total, even, odd;
  HWY_INLINE void add(Floats a, Floats b) {
    even = hn::MulAdd(even_of(a), even_of(b), even);
    odd = hn::MulAdd(odd_of(a), odd_of(b), odd);
  }
};
HWY_INLINE void start_sum(AmxSum& s) { s.total = s.even = s.odd = hn::Zero(F32()); }
HWY_INLINE Floats value_of(const AmxSum& s) { return s.total; }

struct AmxStep {
  using Sum = AmxSum;
  int64_t step;
  bool last = false;  // the current word is the last one of a TDPBF16PS

  HWY_INLINE void enter(int64_t channel) { last = (channel + 1) % step == 0; }
  HWY_INLINE Sum operator()(Floats k, Floats q, Sum s) const {
    s.add(k, q);
    if (!last) return s;
    return {s.total + (s.even + s.odd), hn::Zero(F32()), hn::Zero(F32())};
  }
};

// --- values ---------------------------------------------------------------------------------------------------------

/// The number of floats that lay_out_for_amx writes.
inline int64_t laid_out_floats(int64_t rows, int64_t width) { return round_up(rows, 2 * kSide) / 2 * round_up(width, kSide); }

/// Packs rows of bf16 as words of two rows: [block of 32 rows][channel, padded to a multiple of 16][16 words], zero past
/// the last row and channel. `spare` has room for 16·width floats.
inline void lay_out_for_amx(const uint16_t* from, int64_t row_stride, int64_t channel_stride, int64_t rows, int64_t width, float* spare,
                            float* to) {
  const int64_t channels = round_up(width, kSide);
  const float* pairs[kSide];
  for (int64_t i = 0; i < kSide; ++i) pairs[i] = spare + i * width;
  for (int64_t first = 0; first < rows; first += 2 * kSide, to += channels * kSide) {
    for (int64_t i = 0; i < kSide; ++i) {
      const int64_t row = first + 2 * i;
      const uint16_t* at = from + row * row_stride;
      if (row < rows) {
        interleave(at, row + 1 < rows ? at + row_stride : nullptr, channel_stride, width, spare + i * width);
      } else {
        std::fill_n(spare + i * width, width, 0.0F);
      }
    }
    for (int64_t lane = 0; lane < kSide; lane += kLanes) to_lanes(pairs + lane, 1, width, 1, 1, to + lane, kSide);
    std::fill(to + width * kSide, to + channels * kSide, 0.0F);
  }
}

/// A word of two hidden pairs: −0 twice (mark_hidden).
inline constexpr int32_t kHiddenPair = INT32_MIN | 0x8000;

/// Returns the range of multiplications that cover the runs, and marks as hidden, in every vector, the words in it that lie
/// outside the runs. One multiplication (TDPBF16PS) reads 2·step keys, that is, `step` words of `words`
/// [word of two keys][kBlock].
template <class Run>
Range fill_between_runs(const Run* runs, int run_count, int vectors, int64_t step, float* words) {
  const Range keys{runs[0].begin / (2 * step) * (2 * step), round_up(runs[run_count - 1].end, 2 * step)};
  const auto hide = [&](int v, int64_t begin, int64_t end) {
    const F32 d;
    for (int64_t pair = begin / 2; pair < end / 2; ++pair)
      hn::Store(hn::BitCast(d, hn::Set(I32(), kHiddenPair)), d, words + pair * kBlock + v * kLanes);
  };
  for (int v = 0; v < vectors; ++v) {
    int64_t at = keys.begin;
    for (const Run* run = runs; run < runs + run_count; ++run) {
      if (v < run->first_vector || v >= run->first_vector + run->vectors) continue;
      hide(v, at, run->begin);
      at = run->end;
    }
    hide(v, at, keys.end);
  }
  return {keys.begin / (2 * step), keys.end / (2 * step)};
}

// The address of the values of multiplication `i` of a key tile. `values` begins at the tile's first 32 keys.
HWY_INLINE const float* values_at(const float* values, int64_t step, int64_t i, int64_t channels) {
  const int64_t pair = i * step;
  return values + pair / kSide * channels * kSide + pair % kSide;
}

// o[16 channels, or 32 with kTwo][V vectors] += the sum over multiplications `of` of a key tile.
template <int V, bool kTwo>
HWY_INLINE void add_amx_channels(const float* p, const float* values, int64_t step, Range of, int64_t channels, float* o) {
  float* second = o + kSide * kBlock;
  unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
    amx_load<v>(o + v * kLanes, kBlockBytes);
    if constexpr (kTwo) amx_load<3 + v>(second + v * kLanes, kBlockBytes);
  });
  for (int64_t i = of.begin; i < of.end; ++i) {
    const float* from = values_at(values, step, i, channels);
    add_products<V, kTwo>(from, from + kSide * kSide, kSide * 4, p + i * step * kBlock);
  }
  store_products<V, kTwo>(o, second);
}

template <int V>
HWY_NOINLINE void add_amx_values_of(const float* p, const float* values, int64_t step, Range of, int64_t d_v, float* o) {
  const int64_t channels = round_up(d_v, kSide);
  int64_t c = 0;
  for (; c + 2 * kSide <= channels; c += 2 * kSide) add_amx_channels<V, true>(p, values + c * kSide, step, of, channels, o + c * kBlock);
  if (c < channels) add_amx_channels<V, false>(p, values + c * kSide, step, of, channels, o + c * kBlock);
}

// The same chains, but a value is multiplied only in lanes that see its key.
inline HWY_NOINLINE void add_amx_values_carefully(const float* p, const float* values, int64_t step, Range of, int64_t d_v, int vectors,
                                                  float* o) {
  const F32 d;
  for (int64_t i = of.begin; i < of.end; ++i) {
    for (int64_t c = 0; c < d_v; ++c) {
      const float* pairs = values_at(values, step, i, round_up(d_v, kSide)) + c * kSide;
      for (int v = 0; v < vectors; ++v) {
        AmxSum sum;
        start_sum(sum);
        for (int64_t j = 0; j < step; ++j) {
          const Floats weights = hn::Load(d, p + (i * step + j) * kBlock + v * kLanes);
          sum.add(seen_of(hn::Set(d, pairs[j]), weights), weights);
        }
        float* at = o + c * kBlock + v * kLanes;
        hn::Store(hn::Load(d, at) + (sum.even + sum.odd), d, at);
      }
    }
  }
}

/// o[d_v, padded to a multiple of 16][kBlock] += the values of multiplications `of`, times p [word of two keys][kBlock].
/// `values` is laid out by lay_out_for_amx. With `careful`, a value is multiplied only in lanes that see its key.
inline void add_amx_values(const float* p, const float* values, int64_t step, Range of, int64_t d_v, int vectors, bool careful, float* o) {
  if (HWY_UNLIKELY(careful)) return add_amx_values_carefully(p, values, step, of, d_v, vectors, o);
  with_vectors(vectors, [&](auto count) { add_amx_values_of<count>(p, values, step, of, d_v, o); });
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
