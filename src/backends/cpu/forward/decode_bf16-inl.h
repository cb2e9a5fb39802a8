// Decoding of 2 to 16 bf16 queries over bf16 pages. Both matrix products multiply words of two bf16. Every byte of keys
// and values is read once for all query heads of its key head. Included once per target.
//
//             A                                    B                                         C
//   scores    16 queries' rows                     panels of 16 keys, words of two channels  s [row][key]
//   values    P = bf16(2^(s − m)) of 16 queries    channels of V, words of two keys          o [row][channel]
//
// With AMX (amx-inl.h), the keys and values of a sub-block are first interleaved into words in memory. Without AMX, words
// are multiplied one by one (dot_bf16), and pages are interleaved in registers at every use: between the products, that
// costs less than going through memory, and it leaves L1 free for prefetched data.
//
// Each set of 16 rows computes scores, weights and values in turn, so that its data stay in L1. Meanwhile the next
// sub-block is prefetched at an even pace, because reading it takes about as long as all this work. Terms, visibility and
// merging are those of decode-inl.h. A score has the same bits as in flash_bf16-inl.h with the same products. As there,
// out is divided by ℓ', the sum of the rounded P.
#if defined(CLEARHEAD_CPU_FORWARD_DECODE_BF16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_FORWARD_DECODE_BF16_INL_H_
#undef CLEARHEAD_CPU_FORWARD_DECODE_BF16_INL_H_
#else
#define CLEARHEAD_CPU_FORWARD_DECODE_BF16_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <utility>

#include "backends/cpu/forward/decode-inl.h"
#include "backends/cpu/score/amx-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// Panels of keys that are scored together, as independent chains.
inline constexpr int kPanels = 4;
inline constexpr int64_t kFewKeys = kPanels * kSide;  // keys of a sub-block with AMX
// Keys of a sub-block without AMX, where the overhead per row and sub-block matters more.
inline constexpr int64_t kMoreKeys = 2 * kFewKeys;

// Prefetches are paced by units of work; interleaving one cache line for AMX is one unit. With AMX, the work of a row
// covers its weights and its products.
inline constexpr int64_t kRowWork = 64;     // units for the weights of a row over kMoreKeys
inline constexpr int64_t kProductWork = 3;  // units for eight dot_bf16

// All rows of a key head in sets of 16, padded with zeros. s and p hold one set at a time.
struct Bf16DecodeBlock : DecodeBlock {
  bool by_amx = false;               // whether the products use AMX
  int64_t step = 16;                 // number of words that one multiplication (TDPBF16PS or `step` dot_bf16) sums
  int64_t sets = 0;                  // number of sets of 16 rows
  const float* k_panels = nullptr;   // the sub-block's keys in their page
  const uint16_t* v_rows = nullptr;  // the sub-block's values in their page
  float* k_words = nullptr;          // AMX: [panel][word of two channels][16 keys]
  float* v_words = nullptr;          // [word of two keys][d_v_padded], if interleaves_values()
  float* p = nullptr;                // [multiplication][16 rows][step words of two keys]
  int64_t row_work = 0;              // units of work for the weights of a row over a sub-block
  int64_t work = 1;                  // units of work for a sub-block
  // [row][ℓ, ℓ'][16 lanes]: partial sums per lane, summed at the end of the item
  float* sums = nullptr;

  int64_t rows_of(int64_t set) const { return std::min<int64_t>(kSide, row_count() - set * kSide); }
  // Returns true if values are interleaved in memory: for AMX, for rows that are not whole vectors, and for `careful`
  // passes, which examine every weight.
  bool interleaves_values() const { return by_amx || careful || d_v % (2 * kSide) != 0; }
};

// Prefetches the keys and values of the next sub-block, a few parts with each piece of work on the current one. Without
// AMX it prefetches into L1, which has room for both (prefetching into L2, four queries take 1.5 times as long). With AMX,
// L2 is as fast.
struct NextBytes {
  static constexpr int64_t kPart = 256;  // bytes
  static constexpr int kFraction = 16;   // fraction bits of `pace` and `due`
  const std::byte *keys = nullptr, *values = nullptr;
  int64_t key_parts = 0, parts = 0, part = 0;  // part: the next part to prefetch
  int64_t pace = 0, due = 0;                   // fixed point: parts per unit of work; parts due by now

  NextBytes(const std::byte* k, const std::byte* v, int64_t count, const Bf16DecodeBlock& block)
      : keys(k),
        values(v),
        key_parts((count * block.view().d_k * 4 + kPart - 1) / kPart),
        parts(key_parts + (count * block.d_v * 2 + kPart - 1) / kPart),
        pace((parts << kFraction) / block.work) {}
  template <bool kNear>
  HWY_INLINE void beside(int64_t work) {
    due += work * pace;
    for (const int64_t last = std::min(parts, due >> kFraction); part < last; ++part) {
      const std::byte* at = part < key_parts ? keys + part * kPart : values + (part - key_parts) * kPart;
      unroll<kPart / 64>([&](auto i) CLEARHEAD_INLINE_LAMBDA { __builtin_prefetch(at + i * 64, 0, kNear ? 3 : 2); });
    }
  }
};

// --- without AMX -----------------------------------------------------------------------------------------------------

// The columns of B, one row of words at a time: from panels of keys in a page, from two rows of values in a page, or from
// interleaved words in memory.
struct PanelColumns {
  const float* at;
  int64_t panel;  // floats from one panel to the next
  template <int V>
  HWY_INLINE void take(Floats (&columns)[V]) {
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { columns[v] = words_of_halves(hn::LoadU(F32(), at + v * panel)); });
    at += kSide;
  }
};
struct ValueColumns {
  const uint16_t* at;
  int64_t d_v;
  template <int V>
  HWY_INLINE void take(Floats (&columns)[V]) {
    unroll<V / 2>([&](auto i) CLEARHEAD_INLINE_LAMBDA {
      const uint16_t* row = at + i * 2 * kSide;
      const Floats even = hn::LoadU(F32(), reinterpret_cast<const float*>(row)),
                   odd = hn::LoadU(F32(), reinterpret_cast<const float*>(row + d_v));
      columns[2 * i] = words_of_rows<false>(even, odd);
      columns[2 * i + 1] = words_of_rows<true>(even, odd);
    });
    at += 2 * d_v;
  }
};
struct InterleavedColumns {
  const float* at;
  int64_t row;
  template <int V>
  HWY_INLINE void take(Floats (&columns)[V]) {
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { columns[v] = hn::Load(F32(), at + v * kSide); });
    at += row;
  }
};

// C [N rows][16·V columns] += A·B over `count` multiplications of `step` words. With kFresh, C starts at 0.
// A: [multiplication][16 rows][step], beginning at the first of the N rows.
template <int N, int V, bool kFresh, class Columns>
HWY_INLINE void add_words_of_rows(const float* HWY_RESTRICT a, Columns from, int64_t count, int64_t step, float* HWY_RESTRICT c,
                                  int64_t c_row, NextBytes& next) {
  const F32 d;
  Floats sum[N * V];
  unroll<N * V>([&](auto i) CLEARHEAD_INLINE_LAMBDA { sum[i] = kFresh ? hn::Zero(d) : hn::Load(d, c + i / V * c_row + i % V * kLanes); });
  for (; count > 0; --count, a += kSide * step) {
    next.beside<true>(kProductWork * N * V * step / 8);
    for (int64_t k = 0; k < step; ++k) {
      Floats columns[V];
      from.template take<V>(columns);
      unroll<N>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        const Floats x = hn::Set(d, a[r * step + k]);
        unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { sum[r * V + v] = dot_bf16(columns[v], x, sum[r * V + v]); });
      });
    }
  }
  unroll<N * V>([&](auto i) CLEARHEAD_INLINE_LAMBDA { hn::Store(sum[i], d, c + i / V * c_row + i % V * kLanes); });
}

// The same for `rows` ≤ 16 rows.
template <int V, bool kFresh, class Columns>
HWY_INLINE void add_words(int64_t rows, const float* a, Columns columns, int64_t count, int64_t step, float* c, int64_t c_row,
                          NextBytes& next) {
  for_row_sets<V <= 2 ? 8 : 4>(rows, [&](auto n, int64_t first) CLEARHEAD_INLINE_LAMBDA {
    add_words_of_rows<n, V, kFresh>(a + first * step, columns, count, step, c + first * c_row, c_row, next);
  });
}

// --- scores ---------------------------------------------------------------------------------------------------------

// Products of a set of rows with P panels of keys, from key `first` of the sub-block on.
template <int P>
HWY_INLINE void multiply_panels(const Bf16DecodeBlock& block, int64_t set, int64_t first, NextBytes& next) {
  const int64_t words = block.view().d_k, step = block.step;
  const float *rows = block.q + set * kSide * words, *keys = block.k_words + first * words;
  float* to = block.s + first;
  if (!block.by_amx) {
    const PanelColumns panels{block.k_panels + first * words, words * kSide};
    return add_words<P, true>(block.rows_of(set), rows, panels, words / step, step, to, block.sub_block, next);
  }
  unroll<P>([&](auto panel) CLEARHEAD_INLINE_LAMBDA { amx_zero<panel>(); });
  for (int64_t at = 0; at < words; at += step) {
    amx_load<6>(rows + at * kSide, step * 4);
    unroll<P>([&](auto panel) CLEARHEAD_INLINE_LAMBDA {
      amx_load<7>(keys + (panel * words + at) * kSide, kSide * 4);
      amx_dot<panel>();
    });
  }
  unroll<P>([&](auto panel) CLEARHEAD_INLINE_LAMBDA { amx_store<panel>(to + panel * kSide, block.sub_block * 4); });
}

// Interleaves the sub-block's `count` keys into words of two channels. A cache line of a bf16 panel holds one channel of
// 16 keys, then the next channel.
HWY_INLINE void interleave_keys(const Bf16DecodeBlock& block, int64_t count, NextBytes& next) {
  const F32 d;
  const int64_t pairs = (count + kSide - 1) / kSide * block.view().d_k;
  constexpr int kStep = 8;  // the number of words is a multiple of it
  for (int64_t pair = 0; pair < pairs; pair += kStep) {
    next.beside<false>(kStep);
    unroll<kStep>([&](auto i) CLEARHEAD_INLINE_LAMBDA {
      hn::Store(words_of_halves(hn::LoadU(d, block.k_panels + (pair + i) * kSide)), d, block.k_words + (pair + i) * kSide);
    });
  }
}

// Computes q·k for a set of rows and the sub-block's `count` keys.
HWY_INLINE void score_set(const Bf16DecodeBlock& block, int64_t set, int64_t count, NextBytes& next) {
  int64_t first = 0;
  for (; first + kFewKeys <= count; first += kFewKeys) multiply_panels<kPanels>(block, set, first, next);
  for (; first < count; first += kSide) multiply_panels<1>(block, set, first, next);
}

// --- weights --------------------------------------------------------------------------------------------------------

// Rounds two vectors of weights of a row, from weight j on, stores them where the multiplications read them, and adds them
// to ℓ'.
HWY_INLINE void put_weights(Floats low, Floats high, int64_t step, int64_t j, float* to, Floats& sum) {
  const F32 d;
  const Floats halves = to_halves(low, high);
  sum = sum + even_of(halves) + odd_of(halves);
  if (HWY_LIKELY(step == kSide)) return hn::StoreU(halves, d, to + j / 2 * kSide);
  const hn::Half<F32> half;
  hn::StoreU(hn::LowerHalf(half, halves), half, to + j / 2 * kSide);
  hn::StoreU(hn::UpperHalf(half, halves), half, to + (j / 2 + step) * kSide);
}

// Rescales the per-lane partial sums of ℓ (exact weights) and ℓ' (weights rounded to bf16), and row.rounded, after the
// row's shift changed. The caller rescales row.l and o. At the end of the chunk, the partial sums are added to row.l and
// row.rounded.
inline void scale_sums(const Bf16DecodeBlock& block, int64_t r, DecodeRow& row, float from, float to) {
  const F32 d;
  const float factor = exp2_scalar(from, to);
  for (float* sum = block.sums + r * 2 * kSide; sum < block.sums + (r + 1) * 2 * kSide; sum += kLanes)
    hn::Store(hn::Load(d, sum) * hn::Set(d, factor), d, sum);
  row.rounded *= factor;
}

// Computes P of row r from its products with `count` keys, if all keys are visible and there are no terms.
HWY_INLINE void weigh_plainly(const Bf16DecodeBlock& block, int64_t r, DecodeRow& row, int64_t count) {
  const F32 d;
  const float* s = block.s + r % kSide * block.sub_block;
  float *to = block.p + r % kSide * block.step, *sums = block.sums + r * 2 * kSide;
  const Floats factor = hn::Set(d, block.view().product_factor);
  Floats largest = hn::Set(d, kHidden);
  for (int64_t j = 0; j < count; j += kLanes) largest = hn::Max(largest, hn::Load(d, s + j) * factor);
  if (HWY_UNLIKELY(!hn::AllTrue(d, hn::Le(largest, hn::Set(d, row.m + 8.0F))))) {
    const float before = row.m, top = hn::GetLane(hn::MaxOfLanes(d, largest));
    row.m = std::ceil(top);
    const Floats scale = hn::Set(d, exp2_scalar(before, row.m));
    float* o = block.o + r * block.d_v_padded;
    for (int64_t c = 0; c < block.d_v_padded; c += kLanes) hn::Store(hn::Load(d, o + c) * scale, d, o + c);
    row.l *= hn::GetLane(scale);
    scale_sums(block, r, row, before, row.m);
  }
  const Floats shift = hn::Set(d, row.m);
  Floats l = hn::Load(d, sums), rounded = hn::Load(d, sums + kSide);
  for (int64_t j = 0; j < count; j += 2 * kLanes) {
    const Floats low = exp2_shifted<true>(hn::Load(d, s + j) * factor, shift);
    const Floats high = exp2_shifted<true>(hn::Load(d, s + j + kLanes) * factor, shift);
    l = l + low + high;
    put_weights(low, high, block.step, j, to, rounded);
  }
  hn::Store(l, d, sums);
  hn::Store(rounded, d, sums + kSide);
}

// The same in the general case. In the last multiplication, weights past `end` are 0.
inline HWY_NOINLINE void weigh_to_words(Bf16DecodeBlock& block, int64_t r, int64_t begin, int64_t end) {
  const F32 d;
  DecodeRow& row = block.rows[static_cast<size_t>(r)];
  const int64_t count = round_up(end - begin, kSide), whole = round_up(count, 2 * kSide);
  if (HWY_LIKELY(is_plain(block, row, begin, count) && count == whole)) return weigh_plainly(block, r, row, count);
  float *s = block.s + r % kSide * block.sub_block, *to = block.p + r % kSide * block.step;
  for (int64_t j = 0; j < count; j += kLanes) hn::Store(hn::Load(d, s + j) * hn::Set(d, block.view().product_factor), d, s + j);
  const float before = row.m;
  weigh(block, r, s, begin, end);
  if (row.m != before) scale_sums(block, r, row, before, row.m);
  std::fill(s + count, s + whole, 0.0F);
  float* sums = block.sums + r * 2 * kSide + kSide;
  Floats rounded = hn::Load(d, sums);
  for (int64_t j = 0; j < whole; j += 2 * kLanes) put_weights(hn::Load(d, s + j), hn::Load(d, s + j + kLanes), block.step, j, to, rounded);
  hn::Store(rounded, d, sums);
}

// --- values ---------------------------------------------------------------------------------------------------------

// Interleaves the values of the sub-block's `count` keys, rounded up to whole multiplications, into words of two keys.
HWY_INLINE void interleave_values_of(const Bf16DecodeBlock& block, int64_t count, NextBytes& next) {
  const F32 d;
  const int64_t d_v = block.d_v, pairs = round_up(count, 2 * block.step) / 2;
  const uint16_t* row = block.v_rows;
  float* to = block.v_words;
  for (int64_t pair = 0; pair < pairs; ++pair, row += 2 * d_v, to += block.d_v_padded) {
    if (block.by_amx) next.beside<false>(block.d_v_padded / kSide);
    int64_t c = 0;
    for (; c + 2 * kSide <= d_v; c += 2 * kSide) {
      Floats columns[2];
      ValueColumns{row + c, d_v}.take<2>(columns);
      hn::Store(columns[0], d, to + c);
      hn::Store(columns[1], d, to + c + kSide);
    }
    if (c == block.d_v_padded) continue;
    interleave(row + c, row + d_v + c, 1, d_v - c, to + c);
    std::fill(to + d_v, to + block.d_v_padded, 0.0F);
  }
}

// o[16 rows][16·C channels] += P·V over the multiplications of a sub-block.
template <int C>
HWY_INLINE void add_channels_of(const Bf16DecodeBlock& block, int64_t set, int64_t count, int64_t channel, NextBytes& next) {
  const int64_t step = block.step, width = block.d_v_padded;
  float* o = block.o + set * kSide * width + channel;
  const float* values = block.v_words + channel;
  if constexpr (C % 2 == 0) {
    if (!block.interleaves_values()) {
      const ValueColumns rows{block.v_rows + channel, block.d_v};
      return add_words<C, false>(block.rows_of(set), block.p, rows, count, step, o, width, next);
    }
  }
  if (!block.by_amx)
    return add_words<C, false>(block.rows_of(set), block.p, InterleavedColumns{values, width}, count, step, o, width, next);
  unroll<C>([&](auto c) CLEARHEAD_INLINE_LAMBDA { amx_load<c>(o + c * kSide, width * 4); });
  for (int64_t i = 0; i < count; ++i) {
    amx_load<6>(block.p + i * kSide * step, step * 4);
    unroll<C>([&](auto c) CLEARHEAD_INLINE_LAMBDA {
      amx_load<7>(values + i * step * width + c * kSide, width * 4);
      amx_dot<c>();
    });
  }
  unroll<C>([&](auto c) CLEARHEAD_INLINE_LAMBDA { amx_store<c>(o + c * kSide, width * 4); });
}

// The same chains for one row and the sub-block's `known` keys, without the keys that the row does not see.
inline HWY_NOINLINE void add_values_of_row_carefully(const Bf16DecodeBlock& block, int64_t r, int64_t known) {
  const int64_t keys = 2 * block.step;
  const float* raw = block.raw + r * block.sub_block;
  for (int64_t first = 0; first < known; first += keys) {
    const float* weights = block.p + (first / keys * kSide + r % kSide) * block.step;
    if (!block.by_amx) {
      for (int64_t key = first; key < std::min(first + keys, known); key += 2) {
        const bool odd = key + 1 < known && raw[key + 1] >= kVisible;
        const Ints seen = hn::Set(I32(), (raw[key] < kVisible ? 0 : 0xFFFF) | (odd ? -65536 : 0));
        const float* pairs = block.v_words + key / 2 * block.d_v_padded;
        for (float* o = block.o + r * block.d_v_padded; o < block.o + (r + 1) * block.d_v_padded; o += kLanes, pairs += kLanes) {
          const Floats value = hn::BitCast(F32(), hn::And(hn::Load(I32(), reinterpret_cast<const int32_t*>(pairs)), seen));
          hn::Store(dot_bf16(value, hn::Set(F32(), weights[(key - first) / 2]), hn::Load(F32(), o)), F32(), o);
        }
      }
      continue;
    }
    const auto* p = reinterpret_cast<const uint16_t*>(weights);
    for (int64_t c = 0; c < block.d_v; ++c) {
      float sums[2] = {0, 0};  // over even keys, over odd keys
      for (int64_t key = first; key < std::min(first + keys, known); ++key) {
        if (raw[key] < kVisible) continue;
        const auto* pair = reinterpret_cast<const uint16_t*>(block.v_words + key / 2 * block.d_v_padded + c);
        sums[key % 2] = std::fma(bf16_to_f32(p[key - first]), bf16_to_f32(pair[key % 2]), sums[key % 2]);
      }
      block.o[r * block.d_v_padded + c] += sums[0] + sums[1];
    }
  }
}

// Adds P·V for a set of rows and the sub-block's `known` keys.
HWY_INLINE void add_values_of_set(const Bf16DecodeBlock& block, int64_t set, int64_t known, NextBytes& next) {
  if (HWY_UNLIKELY(block.careful)) {
    for (int64_t r = set * kSide; r < std::min((set + 1) * kSide, block.row_count()); ++r) add_values_of_row_carefully(block, r, known);
    return;
  }
  constexpr int kMany = 4;
  const int64_t count = (known + 2 * block.step - 1) / (2 * block.step);
  int64_t c = 0;
  for (; c + kMany * kSide <= block.d_v_padded; c += kMany * kSide) add_channels_of<kMany>(block, set, count, c, next);
  for (; c + 2 * kSide <= block.d_v_padded; c += 2 * kSide) add_channels_of<2>(block, set, count, c, next);
  for (; c < block.d_v_padded; c += kSide) add_channels_of<1>(block, set, count, c, next);
}

// --- one item -------------------------------------------------------------------------------------------------------

// Computes m, ℓ, ℓ' and O of every row over the item's keys [begin, end). Returns whether all of them are finite.
inline bool decode_chunk(Bf16DecodeBlock& block, int64_t begin, int64_t end) {
  clear_sums(block);
  std::fill_n(block.sums, block.row_count() * 2 * kSide, 0.0F);
  if (block.by_amx) configure_amx(block.step);
  // A sub-block lies in one page.
  const auto end_of = [&](int64_t sub) { return std::min({end, sub + block.sub_block, (sub / kKeyTile + 1) * kKeyTile}); };
  const auto bytes_of = [&](int64_t sub) {
    if (sub == end) return NextBytes(block.after, block.values_after, block.sub_block, block);
    return NextBytes(panels_of(block.view(), sub), block.values.values_at(sub), end_of(sub) - sub, block);
  };
  for (int64_t sub = begin, sub_end = 0; sub < end; sub = sub_end) {
    sub_end = end_of(sub);
    if (!look_at_rule(block, sub, sub_end)) continue;
    NextBytes next = bytes_of(sub_end);
    block.k_panels = reinterpret_cast<const float*>(panels_of(block.view(), sub));
    block.v_rows = reinterpret_cast<const uint16_t*>(block.values.values_at(sub));
    if (block.by_amx) interleave_keys(block, sub_end - sub, next);
    if (block.interleaves_values()) interleave_values_of(block, sub_end - sub, next);
    for (int64_t set = 0; set < block.sets; ++set) {
      score_set(block, set, sub_end - sub, next);
      for (int64_t r = set * kSide; r < set * kSide + block.rows_of(set); ++r) {
        block.by_amx ? next.beside<false>(block.row_work) : next.beside<true>(block.row_work);
        weigh_to_words(block, r, sub, sub_end);
      }
      add_values_of_set(block, set, sub_end - sub, next);
    }
  }
  const F32 d;
  for (int64_t r = 0; r < block.row_count(); ++r) {
    DecodeRow& row = block.rows[static_cast<size_t>(r)];
    row.l += hn::GetLane(hn::SumOfLanes(d, hn::Load(d, block.sums + r * 2 * kSide)));
    row.rounded += hn::GetLane(hn::SumOfLanes(d, hn::Load(d, block.sums + r * 2 * kSide + kSide)));
  }
  return has_finite_sums(block);
}

inline void fill_block(const ForwardPlan& plan, int64_t batch, int64_t key_head, Bf16DecodeBlock& block) {
  add_rows(plan, batch, key_head, block);
  const ScoreView& view = block.view();
  block.by_amx = view.amx_step > 0;
  block.step = view.d_k % 16 == 0 ? 16 : 8;
  block.sets = (block.row_count() + kSide - 1) / kSide;
  block.sub_block = block.by_amx ? kFewKeys : kMoreKeys;
  const int64_t rows = block.sets * kSide, words = view.d_k, s_floats = kSide * block.sub_block;
  float* at =
      ThreadScratch::floats(rows * (words + block.d_v_padded + block.sub_block + 2 * kSide) + s_floats + s_floats / 2 +
                            block.sub_block * words + block.sub_block / 2 * block.d_v_padded + rule_line_floats(view, block.sub_block));
  const auto take = [&](int64_t count) { return std::exchange(at, at + count); };
  block.q = take(rows * words);
  block.s = take(s_floats);
  const int64_t lines = block.sub_block * (words + block.d_v_padded / 2) / kSide;
  block.row_work = block.by_amx ? lines / 8 : kRowWork;
  block.work = block.by_amx ? lines + block.row_count() * block.row_work : block.row_count() * (block.row_work + kProductWork * lines / 8);
  block.raw = take(rows * block.sub_block);
  block.o = take(rows * block.d_v_padded);
  block.k_words = take(block.sub_block * words);
  block.v_words = take(block.sub_block / 2 * block.d_v_padded);
  block.p = take(s_floats / 2);
  block.sums = take(rows * 2 * kSide);
  block.rules = at;
  std::fill_n(block.q, rows * words, 0.0F);
  std::fill_n(block.p, s_floats / 2, 0.0F);
  for (int64_t r = 0; r < block.row_count(); ++r) {
    const DecodeRow& row = block.rows[static_cast<size_t>(r)];
    const float* from = row.view->queries + row.query * row.view->query_stride;
    for (int64_t c = 0; c < words; ++c)
      block.q[r / kSide * kSide * words + c / block.step * kSide * block.step + r % kSide * block.step + c % block.step] = from[c];
  }
}

/// Runs the driver kDecodeBf16. Items whose sums are not finite are computed again with `careful` (decode_items).
inline void forward_decode_bf16(ForwardPlan& plan) {
  plan.call.rows.used = Tensor::empty(plan.call.rows.m.shape());
  plan.used = plan.call.rows.used.template mutable_data<float>();
  forward_decode<Bf16DecodeBlock>(plan);
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
