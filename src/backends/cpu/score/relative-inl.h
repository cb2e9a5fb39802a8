// Relative scores and values: tables indexed by the clipped offset between key and query.
// Included once per target, by score_kernel-inl.h.
//
//   products   T[x][lane] = Σ_c q_c·table[first + x][c]      the score kernel's own chain, with table rows instead of keys
//   scores     + scale·T[δ − first][lane] + scale·Σ_c k_jc·B[δ][c]   δ = clip(j − p, −reach, reach) + reach
//   sums       W[x][lane] = Σ_{j: δ = first + x} w_j[lane]   w: weights or gradients dS; then Σ_x W[x]·table[first + x],
//                                                            computed like weights times values
//
// A block of consecutive queries and a key tile use at most kBlock + kKeyTile rows of a table. For queries that are not
// consecutive (when single rows are recomputed), the same chains run for each (query, key) pair. The order of operations
// is the same in both cases, and so are the bits of a score.
#if defined(CLEARHEAD_CPU_SCORE_RELATIVE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_SCORE_RELATIVE_INL_H_
#undef CLEARHEAD_CPU_SCORE_RELATIVE_INL_H_
#else
#define CLEARHEAD_CPU_SCORE_RELATIVE_INL_H_
#endif

#include <algorithm>
#include <cmath>

#include "backends/cpu/score/pack-inl.h"
#include "backends/cpu/score/score_view.h"
#include "backends/cpu/score/steps-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// Upper bound on the number of offsets between a group of keys and a block, which is below kBlock + kRows.
inline constexpr int64_t kOffsetWindow = 4 * kLanes;
static_assert(kOffsetWindow >= kBlock + kRows);

// Scratch for a relative score, inside a TileScratch.
struct OffsetRoom {
  // shifted: [d_k][kBlock]; products: [row][kBlock]; turned: [d_k][kKeyTile + kOffsetWindow];
  // window: [kRows][kOffsetWindow].
  float *shifted, *products, *turned, *window;
  OffsetRoom(const ScoreView& view, const TileScratch& scratch)
      : shifted(scratch.offsets),
        products(shifted + view.d_k * kBlock),
        turned(products + kOffsetRows * kBlock),
        window(turned + view.d_k * (kKeyTile + kOffsetWindow)) {}
};

// The positions of a block's lanes, and the table rows that these lanes and a range of keys use.
struct OffsetSpan {
  alignas(64) int32_t position[kBlock];
  int64_t lowest = 0, highest = 0;  // lowest and highest position
  int64_t first = 0, count = 0;     // table rows

  OffsetSpan(const ScoreView& view, const QueryBlock& block, Range keys) {
    const int lanes = block.vectors * kLanes;
    lowest = highest = view.position_of(block.query[0]);
    for (int i = 0; i < lanes; ++i) {
      const int64_t p = view.position_of(block.query[i]);
      position[i] = static_cast<int32_t>(p);
      lowest = std::min(lowest, p);
      highest = std::max(highest, p);
    }
    first = offset_row(keys.begin, highest, view.relative.reach);
    count = offset_row(keys.end - 1, lowest, view.relative.reach) + 1 - first;
  }
  bool is_near() const { return highest - lowest < kBlock; }
  // The table rows, counted from `first`, for one key and the lanes of vector v.
  HWY_INLINE Ints rows(const RelativeView& relative, int64_t key, int v) const {
    const I32 di;
    const Ints far = hn::Set(di, static_cast<int32_t>(relative.reach));
    const Ints offset = hn::Set(di, static_cast<int32_t>(key)) - hn::Load(di, position + v * kLanes);
    return hn::Min(far, hn::Max(hn::Zero(di) - far, offset)) + hn::Set(di, static_cast<int32_t>(relative.reach - first));
  }
};

// to[x][lane] = Σ_c qt[c][lane]·table[x][c] for `count` rows x of the span. `table` begins at the span's first row;
// `tail` is scratch [kRows][width].
inline HWY_NOINLINE void offset_products(const float* qt, int vectors, const float* table, int64_t width, int64_t count, float* tail,
                                         float* to) {
  const F32 d;
  for (int64_t x = 0; x < count; x += kRows) {
    RowMajor rows(table + x * width, width);
    if (x + kRows > count) {
      for (int64_t r = 0; r < kRows; ++r) std::copy_n(table + std::min(x + r, count - 1) * width, width, tail + r * width);
      rows = RowMajor(tail, width);
    }
    const auto score = [&](auto n) CLEARHEAD_INLINE_LAMBDA {
      constexpr int kCount = decltype(n)::value;
      Scores<kCount> s;
      dot_products<kCount>(qt, rows, width, s);
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        unroll<kCount>([&](auto v) CLEARHEAD_INLINE_LAMBDA { hn::Store(s.c[r * kCount + v], d, to + (x + r) * kBlock + v * kLanes); });
      });
    };
    if (vectors == 3) {
      score(std::integral_constant<int, 3>{});
    } else if (vectors == 2) {
      score(std::integral_constant<int, 2>{});
    } else {
      score(std::integral_constant<int, 1>{});
    }
  }
}

// to[key − keys.begin][lane] = products[δ − span.first][lane], δ being the table row of (lane, key)
inline HWY_NOINLINE void spread_products(const RelativeView& relative, const OffsetSpan& span, int vectors, Range keys,
                                         const float* products, float* to) {
  const F32 d;
  const I32 di;
  for (int64_t key = keys.begin; key < keys.end; ++key, to += kBlock) {
    for (int v = 0; v < vectors; ++v) {
      const Ints at = span.rows(relative, key, v) * hn::Set(di, kBlock) + hn::Iota(di, v * kLanes);
      hn::Store(hn::GatherIndex(d, products, at), d, to + v * kLanes);
    }
  }
}

// sums[x][lane] += weights[key][lane] for each key, where x is the table row of (lane, key). `weights` begins at key
// keys.begin.
inline HWY_NOINLINE void gather_weights(const RelativeView& relative, const OffsetSpan& span, Range keys, int first_lane, int last_lane,
                                        const float* weights, float* sums) {
  for (int64_t key = keys.begin; key < keys.end; ++key, weights += kBlock) {
    for (int i = first_lane; i < last_lane; ++i) {
      sums[(offset_row(key, span.position[i], relative.reach) - span.first) * kBlock + i] += weights[i];
    }
  }
}

// --- products of keys with table B ----------------------------------------------------------------------------------

// window[key][x] = Σ_c k_c·turned[c][x] for a group of keys. `turned`, the transposed table, begins at the group's first
// offset.
template <class Address>
HWY_INLINE void window_products(const float* turned, Address keys, int64_t d_k, float* window) {
  const F32 d;
  for (int half = 0; half < 2; ++half) {
    const float* from = turned + half * 2 * kLanes;
    Address at = keys;
    Floats sum[kRows * 2];
    unroll<kRows * 2>([&](auto i) CLEARHEAD_INLINE_LAMBDA { sum[i] = hn::Zero(d); });
    for (int64_t c = 0; c < d_k; ++c) {
      const Floats low = hn::LoadU(d, from), high = hn::LoadU(d, from + kLanes);
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        const Floats k = hn::Set(d, *at.template at<r>());
        sum[2 * r] = hn::MulAdd(k, low, sum[2 * r]);
        sum[2 * r + 1] = hn::MulAdd(k, high, sum[2 * r + 1]);
      });
      from += kKeyTile + kOffsetWindow;
      at.next_channel();
    }
    unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
      hn::Store(sum[2 * r], d, window + r * kOffsetWindow + half * 2 * kLanes);
      hn::Store(sum[2 * r + 1], d, window + r * kOffsetWindow + (half * 2 + 1) * kLanes);
    });
  }
}

// to[key][lane] += scale·Σ_c k_c·B[δ][c]. Column x of the transposed table is the offset
// (last key − lowest position) − x.
inline HWY_NOINLINE void add_key_products(const ScoreView& view, const OffsetSpan& span, const TileScratch& scratch, const TileSight& sight,
                                          int vectors, Range keys, float* to) {
  const F32 d;
  const I32 di;
  const OffsetRoom room(view, scratch);
  const int64_t columns = kKeyTile + kOffsetWindow;
  for (int64_t x = 0; x < columns; x += kLanes) {
    const float* from[kLanes];
    for (int64_t i = 0; i < kLanes; ++i) {
      from[i] = view.relative.queries + offset_row(keys.end - 1 - x - i, span.lowest, view.relative.reach) * view.d_k;
    }
    to_lanes(from, 1, view.d_k, 1, 1.0F, room.turned + x, columns);
  }
  const Floats scale = hn::Set(d, view.query_factor);
  for (int64_t key = keys.begin; key < keys.end; key += kRows) {
    const float* turned = room.turned + (keys.end - key - kRows);
    if (view.pages) {
      window_products(turned, panel_of(view, sight, key), view.d_k, room.window);
    } else {
      window_products(turned, rows_of(view, scratch, sight, key), view.d_k, room.window);
    }
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < vectors; ++v) {
        const Ints ahead = hn::Load(di, span.position + v * kLanes) - hn::Set(di, static_cast<int32_t>(span.lowest));
        const Ints at = ahead + hn::Set(di, static_cast<int32_t>(r * kOffsetWindow + kRows - 1 - r));
        float* bias = to + (key - keys.begin + r) * kBlock + v * kLanes;
        hn::Store(hn::MulAdd(hn::GatherIndex(d, room.window, at), scale, hn::Load(d, bias)), d, bias);
      }
    }
  }
}

// --- a key tile -----------------------------------------------------------------------------------------------------

// Returns the queries plus their bias, times scale·log₂e: [d_k][kBlock].
inline const float* shifted_queries(const ScoreView& view, const QueryBlock& block, float* to) {
  if (!view.relative.query_bias) return block.qt;
  const F32 d;
  for (int64_t c = 0; c < view.d_k; ++c) {
    const Floats bias = hn::Set(d, view.relative.query_bias[c] * view.query_factor);
    for (int v = 0; v < block.vectors; ++v) {
      hn::Store(hn::Load(d, block.qt + c * kBlock + v * kLanes) + bias, d, to + c * kBlock + v * kLanes);
    }
  }
  return to;
}

// pack_offsets for queries that are not consecutive: computes each (query, key) pair separately.
inline HWY_NOINLINE void pack_far_offsets(const ScoreView& view, const QueryBlock& block, const OffsetSpan& span, const TileSight& sight,
                                          const float* qt, Range keys, float* to) {
  const int lanes = block.vectors * kLanes;
  for (int64_t key = keys.begin; key < keys.end; ++key, to += kBlock) {
    const int64_t known = std::min(key, view.key_length - 1);
    const int64_t inside = known - sight.tile, in_panel = inside % KVPage::kPanel;
    const float* k = sight.keys + (view.pages ? (inside - in_panel) * view.d_k + in_panel : inside * view.key_stride);
    const int64_t step = view.pages ? KVPage::kPanel : 1;
    for (int i = 0; i < block.count; ++i) {
      const int64_t row = offset_row(key, span.position[i], view.relative.reach) * view.d_k;
      float of_query = 0, of_key = 0;
      for (int64_t c = 0; c < view.d_k; ++c) of_query = std::fma(qt[c * kBlock + i], view.relative.keys[row + c], of_query);
      if (view.relative.queries) {
        for (int64_t c = 0; c < view.d_k; ++c) of_key = std::fma(k[c * step], view.relative.queries[row + c], of_key);
        of_query = std::fma(of_key, view.query_factor, of_query);
      }
      to[i] = of_query;
    }
    std::fill(to + block.count, to + lanes, to[block.count - 1]);
  }
}

// Computes the terms that the tables add to the scores of `keys`, in base 2: to[key − keys.begin][lane].
inline HWY_NOINLINE void pack_offsets(const TileContext& in, const TileSight& sight, Range keys, float* to) {
  const OffsetRoom room(in.view, in.scratch);
  const OffsetSpan span(in.view, in.block, keys);
  const float* qt = shifted_queries(in.view, in.block, room.shifted);
  if (!span.is_near()) return pack_far_offsets(in.view, in.block, span, sight, qt, keys, to);
  offset_products(qt, in.block.vectors, in.view.relative.keys + span.first * in.view.d_k, in.view.d_k, span.count, in.scratch.tail,
                  room.products);
  spread_products(in.view.relative, span, in.block.vectors, keys, room.products, to);
  if (in.view.relative.queries) add_key_products(in.view, span, in.scratch, sight, in.block.vectors, keys, to);
}

// Sums weights by table row: [row][kBlock], in the scratch of `products`. f(take) must call
// take(keys, first lane, last lane, weights) for each range of keys that has weights, [key][kBlock] from keys.begin.
template <class F>
inline const float* weights_by_offset(const ScoreView& view, const OffsetSpan& span, const TileScratch& scratch, F&& f) {
  float* sums = OffsetRoom(view, scratch).products;
  std::fill_n(sums, round_up(span.count, kRows) * kBlock, 0.0F);
  f([&](Range keys, int first_lane, int last_lane, const float* weights) {
    gather_weights(view.relative, span, keys, first_lane, last_lane, weights, sums);
  });
  return sums;
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
