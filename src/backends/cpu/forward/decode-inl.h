// Decoding: few queries over many keys. Every byte of keys and values is read once for all query heads of its key head.
// Included once per target.
//
//   chunk of 1,024 keys → sub-blocks: all scores (keys in lanes) → terms, visibility, maximum → 2^(s − m)
//     → values (channels in lanes) → partial (m, ℓ, O) per chunk → merged in chunk order
//
// A score is the same chain over ascending channels as in score_kernel-inl.h, followed by the same element-wise
// operations, so it has the same bits. m is an integer here too, so merging multiplies by exact powers of two. Chunks
// begin at multiples of 1,024 keys; nothing else decides where keys are split. Row-major keys are transposed in
// registers, kLanes keys at a time; pages store them transposed.
#if defined(CLEARHEAD_CPU_FORWARD_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_FORWARD_DECODE_INL_H_
#undef CLEARHEAD_CPU_FORWARD_DECODE_INL_H_
#else
#define CLEARHEAD_CPU_FORWARD_DECODE_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>
#include <type_traits>
#include <vector>

#include "backends/cpu/forward/flash-inl.h"
#include "backends/cpu/simd/amx.h"
#include "base/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

inline constexpr int64_t kChunk = 1024;  // keys per work item
// Keys that are scored before their values are read. With longer phases, memory would idle.
inline constexpr int64_t kSubBlock = 256;
inline constexpr int64_t kValueRows = 32;    // rows of values that all query rows use while they are in cache
inline constexpr int64_t kAhead = 8192;      // prefetch distance in bytes
inline constexpr int64_t kFetchingRows = 4;  // rows that prefetch values during their exponentials: 1 KB each
inline constexpr int kPanelVectors = 16 / kLanes;
// Rows that share a loaded key: as many as the registers allow.
inline constexpr int kScoreRows = kLanes == 16 ? 8 : 4;
inline constexpr int kWeightRows = 4;  // rows that share a loaded value

// One query of one of the key head's query heads.
struct DecodeRow {
  const ScoreView* view = nullptr;
  int64_t query = 0, head = 0;
  Range band{};
  int32_t segment = 0;                  // −1 if the row sees nothing
  Shown shown = Shown::kAll;            // whether the visibility rule shows all, none or some of the sub-block
  float m = kNone, l = 0, rounded = 0;  // rounded: Σ P after rounding to bf16, if P is bf16
};

// All rows of a key head, and the scratch memory of one item.
struct DecodeBlock {
  std::vector<ScoreView> views{};  // [query head of the group]
  std::vector<DecodeRow> rows{};
  ValueView values{};
  int64_t sub_block = kSubBlock, d_v = 0, d_v_padded = 0;
  // [row set][d_k][rows of the set], in sets of kScoreRows; for additive scores [row][d_k]
  float* q = nullptr;
  float* s = nullptr;      // [row][sub_block]: scores, then weights
  float* raw = nullptr;    // a copy of the scores, if `careful`
  float* rules = nullptr;  // scratch for evaluating a rule over a sub-block
  float* o = nullptr;      // [row][d_v_padded]
  bool careful = false;
  int64_t key_end = 0;  // end of the item's keys
  // For pages: the keys and values that the thread reads after this item.
  const std::byte *after = nullptr, *values_after = nullptr;

  const ScoreView& view() const { return views[0]; }
  int64_t row_count() const { return static_cast<int64_t>(rows.size()); }
};

// Calls f(integral constant N, first row) for sets of kMost rows, then for the rest in sets of smaller powers of two.
template <int kMost, class F>
HWY_INLINE void for_row_sets(int64_t rows, F&& f) {
  int64_t row = 0;
  for (; row + kMost <= rows; row += kMost) f(std::integral_constant<int, kMost>{}, row);
  if constexpr (kMost > 1) {
    if (row < rows) for_row_sets<kMost / 2>(rows - row, [&](auto n, int64_t after) CLEARHEAD_INLINE_LAMBDA { f(n, row + after); });
  }
}

// Schedules prefetches among the sets of rows that work on the same keys. The memory that is needed next is prefetched in
// small parts, one per step of the arithmetic, by the sets in turn. Prefetches issued in a burst would wait for one
// another; and if one set prefetched for all, memory would idle while the other sets compute.
struct Turns {
  // This set prefetches at every sets-th step, beginning with step `next`; never if `next` is −1.
  int64_t next = -1, sets = 1;

  template <int kMost>
  static Turns of(int64_t row, int64_t rows) {
    const auto sets_in = [](int64_t count) { return count / kMost + std::popcount(static_cast<uint64_t>(count % kMost)); };
    return {sets_in(row), sets_in(rows)};
  }
  HWY_INLINE bool take(int64_t step) {
    if (step != next) return false;
    next += sets;
    return true;
  }
};

// Memory to prefetch: consecutive parts of `part` bytes each, one per step.
struct Ahead {
  const std::byte* at = nullptr;
  int64_t part = 0;
  Turns turns{};

  template <int kBytes>
  HWY_INLINE void fetch(int64_t step) {
    if (!turns.take(step)) return;
    unroll<(kBytes + 63) / 64>([&](auto i) CLEARHEAD_INLINE_LAMBDA { hwy::Prefetch(at + step * part + i * 64); });
  }
};

// --- scores ---------------------------------------------------------------------------------------------------------

template <class T>
HWY_INLINE const T* panel_at(const ScoreView& view, int64_t key) {
  return view.panels<T>(key / kKeyTile) + key % kKeyTile * view.d_k;
}

// Scores of the 16·P keys of P panels for N rows. q: [d_k][N]. Several panels give many independent chains; few chains
// would be bound by the latency of additions (bf16 in cache: 41 GB/s per core with two panels). Each step prefetches as much
// memory as it reads: the channels of one cache line. 16-bit elements are widened again for each set of rows; between
// the products, that is cheaper than a copy in memory.
template <int N, int P, class Step, class T>
HWY_INLINE void score_panel(Step step, const T* HWY_RESTRICT panels, Ahead ahead, const float* HWY_RESTRICT q, int64_t d_k, float* to,
                            int64_t row_stride) {
  const F32 d;
  constexpr int64_t kLine = 64 / (16 * sizeof(T));  // channels per cache line
  constexpr int kVectors = P * kPanelVectors;
  Floats sum[N * kVectors];
  unroll<N * kVectors>([&](auto i) CLEARHEAD_INLINE_LAMBDA { sum[i] = hn::Zero(d); });
  const auto add_channel = [&](int64_t channel) CLEARHEAD_INLINE_LAMBDA {
    step.enter(channel);
    Floats keys[kVectors];
    unroll<kVectors>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      keys[v] = load_widened(panels + v / kPanelVectors * 16 * d_k + channel * 16 + v % kPanelVectors * kLanes);
    });
    unroll<N>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
      const Floats x = hn::Set(d, q[channel * N + r]);
      unroll<kVectors>([&](auto v) CLEARHEAD_INLINE_LAMBDA { sum[r * kVectors + v] = step(keys[v], x, sum[r * kVectors + v]); });
    });
  };
  int64_t channel = 0;
#pragma GCC unroll 2
  for (; channel + kLine <= d_k; channel += kLine) {
    ahead.fetch<static_cast<int>(sizeof(T)) * P * kLine * 16>(channel / kLine);
    unroll<kLine>([&](auto c) CLEARHEAD_INLINE_LAMBDA { add_channel(channel + c); });
  }
  for (; channel < d_k; ++channel) add_channel(channel);
  unroll<N>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
    unroll<kVectors>([&](auto v) CLEARHEAD_INLINE_LAMBDA { hn::Store(sum[r * kVectors + v], d, to + r * row_stride + v * kLanes); });
  });
}

// Prefetches lines of row-major keys in memory order, kAhead bytes before their use, into L1. A second prefetch distance
// for L2 would take load slots that the keys need: it reaches 87 % of the bandwidth, one distance 95 %.
struct KeyLines {
  const float* at = nullptr;
  int64_t line = 0, lines = 0, jump = 0;
  Turns turns{};
  KeyLines() = default;
  KeyLines(const ScoreView& view, int64_t key)
      : at(view.keys + (key + std::max<int64_t>(kLanes, kAhead / (view.d_k * 4))) * view.key_stride),
        lines((view.d_k + 15) / 16),
        jump(view.key_stride - (lines - 1) * 16) {}
  template <int kCount>
  HWY_INLINE void fetch(int64_t step) {
    const bool takes = turns.take(step);
    unroll<kCount>([&](auto) CLEARHEAD_INLINE_LAMBDA {
      if (takes) hwy::Prefetch(at);
      const int64_t width = ++line == lines ? jump : 16;
      line = line == lines ? 0 : line;
      at += width;
    });
  }
};

// Scores of kLanes row-major keys for N rows. Transposes four channels of all keys at a time.
template <int N, bool kFetch, class Step>
HWY_INLINE void score_rows(Step step, const float* const* keys, KeyLines ahead, const float* HWY_RESTRICT q, int64_t d_k, float* to,
                           int64_t row_stride) {
  const F32 d;
  typename Step::Sum sum[N];
  unroll<N>([&](auto i) CLEARHEAD_INLINE_LAMBDA { start_sum(sum[i]); });
  int64_t channel = 0;
  for (; channel + 4 <= d_k; channel += 4) {
    if constexpr (kFetch) ahead.fetch<kLanes / 4>(channel / 4);
    Floats t[4];
    unroll<4>([&](auto r) CLEARHEAD_INLINE_LAMBDA { t[r] = load_quarters(keys, r, channel); });
    transpose_4x4_blocks(t[0], t[1], t[2], t[3]);
    unroll<4>([&](auto c) CLEARHEAD_INLINE_LAMBDA {
      step.enter(channel + c);
      unroll<N>([&](auto r) CLEARHEAD_INLINE_LAMBDA { sum[r] = step(t[c], hn::Set(d, q[(channel + c) * N + r]), sum[r]); });
    });
  }
  for (; channel < d_k; ++channel) {
    alignas(64) float column[kLanes];
    for (int i = 0; i < kLanes; ++i) column[i] = keys[i][channel];
    const Floats t = hn::Load(d, column);
    step.enter(channel);
    unroll<N>([&](auto r) CLEARHEAD_INLINE_LAMBDA { sum[r] = step(t, hn::Set(d, q[channel * N + r]), sum[r]); });
  }
  unroll<N>([&](auto r) CLEARHEAD_INLINE_LAMBDA { hn::Store(value_of(sum[r]), d, to + r * row_stride); });
}

// Scores of a sub-block of paged keys. The end of each phase prefetches the memory that the next phase reads first, so
// that memory does not idle.
template <class T>
HWY_NOINLINE void score_panels(const DecodeBlock& block, int64_t begin, int64_t end) {
  const ScoreView& view = block.view();
  const int64_t d_k = view.d_k, stride = block.sub_block;
  // Four panels would be faster in cache and slower beyond it, where the streams would be 8 KB wide.
  constexpr int64_t kMany = kLanes == 16 ? 2 : 1;
  const int64_t keys_ahead = 16 * std::max<int64_t>(kMany, kAhead / (d_k * 16 * static_cast<int64_t>(sizeof(T))));
  const T* values = block.values.in_page<T>(begin);
  const auto score = [&](auto panels, int64_t key) CLEARHEAD_INLINE_LAMBDA {
    const T* at = panel_at<T>(view, key);
    const T* next = key + keys_ahead < end ? panel_at<T>(view, key + keys_ahead) : values + (key + keys_ahead - end) * d_k;
    Ahead ahead{reinterpret_cast<const std::byte*>(next), panels * int64_t{64}};
    for_row_sets<kScoreRows>(block.row_count(), [&](auto n, int64_t row) CLEARHEAD_INLINE_LAMBDA {
      ahead.turns = Turns::of<kScoreRows>(row, block.row_count());
      score_panel<n, panels>(DotStep(), at, ahead, block.q + row * d_k, d_k, block.s + row * stride + (key - begin), stride);
    });
  };
  for (int64_t key = begin; key < end;) {
    // Panels that are scored together lie in one page.
    const bool many = kMany > 1 && key + 16 * kMany <= end && key % kKeyTile <= kKeyTile - 16 * kMany;
    if (many) {
      score(std::integral_constant<int, kMany>{}, key);
    } else {
      score(std::integral_constant<int, 1>{}, key);
    }
    key += many ? 16 * kMany : 16;
  }
}

// Scores of row-major keys [begin, end).
template <class Step>
HWY_NOINLINE void score_rows_of(Step step, const DecodeBlock& block, int64_t begin, int64_t end) {
  const F32 d;
  const ScoreView& view = block.view();
  const int64_t d_k = view.d_k, stride = block.sub_block;
  for (int64_t key = begin; key < end; key += kLanes) {
    const float* keys[kLanes];
    for (int64_t i = 0; i < kLanes; ++i) keys[i] = view.keys + std::min(key + i, view.key_length - 1) * view.key_stride;
    KeyLines ahead(view, key);
    for_row_sets<kScoreRows>(block.row_count(), [&](auto n, int64_t row) CLEARHEAD_INLINE_LAMBDA {
      ahead.turns = Turns::of<kScoreRows>(row, block.row_count());
      score_rows<n, true>(step, keys, ahead, block.q + row * d_k, d_k, block.s + row * stride + (key - begin), stride);
    });
    if (!view.is_bf16) continue;
    for (float* to = block.s + (key - begin); to < block.s + block.row_count() * stride; to += stride) {
      hn::Store(hn::Load(d, to) * hn::Set(d, view.product_factor), d, to);
    }
  }
}

// Scores of keys [begin, end) for every row; begin is a multiple of 16.
inline HWY_NOINLINE void score_sub_block(const DecodeBlock& block, int64_t begin, int64_t end) {
  const ScoreView& view = block.view();
  if (view.pages) return with_element(view.page_dtype, [&](auto element) { score_panels<decltype(element)>(block, begin, end); });
  if (kHasAmx && view.amx_step > 0) return score_rows_of(AmxStep{view.amx_step}, block, begin, end);
  if (kHasBf16Dot && view.is_bf16) return score_rows_of(Bf16DotStep(), block, begin, end);
  score_rows_of(DotStep(), block, begin, end);
}

// The same for additive scores, row by row, because each head has its own weights.
inline HWY_NOINLINE void score_additive(const DecodeBlock& block, int64_t begin, int64_t end) {
  const int64_t d_k = block.view().d_k;
  for (int64_t r = 0; r < block.row_count(); ++r) {
    const ScoreView& view = *block.rows[static_cast<size_t>(r)].view;
    const float* q = block.q + r * d_k;
    float* to = block.s + r * block.sub_block;
    with_step(view.function, [&](auto step) {
      for (int64_t key = begin; key < end; key += 16) {
        if (view.pages) {
          with_element(view.page_dtype, [&](auto element) {
            const auto* panel = panel_at<decltype(element)>(view, key);
            score_panel<1, 1>(step, panel, Ahead(), q, d_k, to + (key - begin), 0);
          });
          continue;
        }
        for (int64_t at = key; at < key + 16; at += kLanes) {
          const float* keys[kLanes];
          for (int64_t i = 0; i < kLanes; ++i) keys[i] = view.keys + std::min(at + i, view.key_length - 1) * view.key_stride;
          score_rows<1, false>(step, keys, KeyLines(), q, d_k, to + (at - begin), 0);
        }
      }
    });
  }
}

// Copies kLanes elements, `stride` apart, of an operand that has a key axis. Past `count` elements, the last one is
// repeated.
template <class T>
HWY_INLINE void copy_lanes(const T* from, int64_t stride, int64_t count, T* to) {
  for (int64_t i = 0; i < kLanes; ++i) to[i] = from[std::min(i, count - 1) * stride];
}

// A callback that does nothing.
struct Unwatched {
  template <class... Any>
  HWY_INLINE void operator()(const Any&...) const {}
};

// Applies the terms to the scores of one query over `count` keys (whole vectors). along.keys(i) returns the keys of the
// vector at i; along.copy_bias(term, query, i, to) copies their biases. `rule_room` has rule_line_floats(view, count)
// floats. before(term, scores) receives the input scores of each term.
template <class Along, class Before>
HWY_INLINE void terms_along_keys(const ScoreView& view, int64_t query, const Along& along, int64_t count, float* scores, float* rule_room,
                                 Before&& before) {
  const F32 d;
  const float position = static_cast<float>(view.position_of(query));
  for (const ScoreTerm& term : *view.terms) {
    before(term, static_cast<const float*>(scores));
    if (term.kind == ScoreTerm::Kind::kRule) {
      float* keys = rule_keys(term.rule, rule_room);
      for (int64_t i = 0; i < count; i += kLanes) hn::StoreU(hn::ConvertTo(d, along.keys(i)), d, keys + i);
      apply_rule_along_keys(term.rule, position, count, scores, rule_room);
      continue;
    }
    for (int64_t i = 0; i < count; i += kLanes) {
      Floats s = hn::Load(d, scores + i);
      if (term.kind == ScoreTerm::Kind::kAlibi) {
        s = term_alibi(s, hn::Set(d, term.slope), hn::Set(d, position), hn::ConvertTo(d, along.keys(i)));
      } else if (term.kind == ScoreTerm::Kind::kSoftCap) {
        s = term_soft_cap(s, hn::Set(d, term.cap), hn::Set(d, term.inverse_cap));
      } else {
        alignas(64) float bias[kLanes];
        along.copy_bias(term, query, i, bias);
        s = term_dense(s, hn::Load(d, bias));
      }
      hn::Store(s, d, scores + i);
    }
  }
}

// Consecutive keys from `first` on, for terms_along_keys. Past the last key, its bias is repeated.
struct NeighbouringKeys {
  int64_t first, key_length;
  HWY_INLINE Ints keys(int64_t i) const { return hn::Iota(I32(), static_cast<int32_t>(first + i)); }
  HWY_INLINE void copy_bias(const ScoreTerm& term, int64_t query, int64_t i, float* to) const {
    const int64_t left = std::max<int64_t>(1, key_length - first - i), at = key_length - left;
    copy_lanes(term.bias + query * term.query_stride + at * term.key_stride, term.key_stride, left, to);
  }
};

// Returns the scores s of one row and one vector of keys from `key` on, with kHidden where the row does not see the key.
inline Floats hide_scores(const DecodeRow& row, int64_t key, Floats s) {
  const F32 d;
  const I32 di;
  const ScoreView& view = *row.view;
  const int64_t left = std::max<int64_t>(1, view.key_length - key), at = view.key_length - left;
  const Ints j = hn::Iota(di, static_cast<int32_t>(key));
  const Floats hidden = hn::Set(d, kHidden);
  s = term_floor(s);
  const auto outside = hn::Or(hn::Lt(j, hn::Set(di, static_cast<int32_t>(row.band.begin))),
                              hn::Not(hn::Lt(j, hn::Set(di, static_cast<int32_t>(row.band.end)))));
  s = hn::IfThenElse(hn::RebindMask(d, outside), hidden, s);
  if (view.key_segments) {
    alignas(64) int32_t ids[kLanes];
    copy_lanes(view.key_segments + at * view.key_segment_stride, view.key_segment_stride, left, ids);
    const auto same = hn::And(hn::Eq(hn::Load(di, ids), hn::Set(di, row.segment)), hn::Gt(hn::Load(di, ids), hn::Set(di, -1)));
    s = hn::IfThenElse(hn::RebindMask(d, same), s, hidden);
  }
  if (view.mask) {
    alignas(64) uint8_t bytes[kLanes];
    alignas(64) int32_t visible[kLanes];
    copy_lanes(view.mask + row.query * view.mask_query_stride + at * view.mask_key_stride, view.mask_key_stride, left, bytes);
    for (int i = 0; i < kLanes; ++i) visible[i] = bytes[i];
    s = hn::IfThenElse(hn::RebindMask(d, hn::Eq(hn::Load(di, visible), hn::Zero(di))), hidden, s);
  }
  return s;
}

// --- one sub-block --------------------------------------------------------------------------------------------------

// Replaces `count` scores of one row (whole vectors) by weights 2^(s − m), and updates m, ℓ and o [width, whole vectors].
// With kFetch, prefetches one cache line per vector, from `fetch` on.
template <bool kFetch = false>
HWY_INLINE void softmax_along_keys(float* HWY_RESTRICT s, int64_t count, float& m, float& l, float* HWY_RESTRICT o, int64_t width,
                                   const std::byte* fetch = nullptr) {
  const F32 d;
  Floats largest = hn::Set(d, kHidden);
  for (int64_t j = 0; j < count; j += kLanes) largest = hn::Max(largest, hn::Load(d, s + j));
  const float top = hn::GetLane(hn::MaxOfLanes(d, largest));
  if (top > m + 8.0F) {
    const float to = std::ceil(top);
    const Floats factor = exp2_shifted(hn::Set(d, m), hn::Set(d, to));
    for (int64_t c = 0; c < width; c += kLanes) hn::Store(hn::Load(d, o + c) * factor, d, o + c);
    l *= hn::GetLane(factor);
    m = to;
  }
  const Floats shift = hn::Set(d, m);
  Floats sum = hn::Zero(d);
  for (int64_t j = 0; j < count; j += kLanes) {
    if constexpr (kFetch) hwy::Prefetch(fetch + j * (64 / kLanes));
    const Floats e = exp2_shifted(hn::Load(d, s + j), shift);
    hn::Store(e, d, s + j);
    sum = sum + e;
  }
  l += hn::GetLane(hn::SumOfLanes(d, sum));
}

// Returns true if `count` keys from `begin` on are all visible and their scores need no terms.
inline bool is_plain(const DecodeBlock& block, const DecodeRow& row, int64_t begin, int64_t count) {
  const ScoreView& view = *row.view;
  return !view.terms && !view.key_segments && !view.mask && row.shown == Shown::kAll && !block.careful && row.band.begin <= begin &&
         begin + count <= row.band.end;
}

// Replaces the scores s of row r for keys [begin, end) by weights 2^(s − m), and updates m, ℓ and O. `fetch`: memory to
// prefetch, or null.
inline HWY_NOINLINE void weigh(DecodeBlock& block, int64_t r, float* s, int64_t begin, int64_t end, const std::byte* fetch = nullptr) {
  const F32 d;
  DecodeRow& row = block.rows[static_cast<size_t>(r)];
  const ScoreView& view = *row.view;
  const int64_t count = round_up(end - begin, 16);
  if (!is_plain(block, row, begin, count)) {
    if (view.terms) terms_along_keys(view, row.query, NeighbouringKeys{begin, view.key_length}, count, s, block.rules, Unwatched{});
    for (int64_t j = 0; j < count; j += kLanes) hn::Store(hide_scores(row, begin + j, hn::Load(d, s + j)), d, s + j);
    if (row.shown == Shown::kNone) std::fill(s, s + count, kHidden);
    if (row.shown == Shown::kMixed) {
      fill_line(rule_keys(*view.visible, block.rules), count, static_cast<float>(begin), 1);
      hide_along_keys(*view.visible, static_cast<float>(view.position_of(row.query)), count, s, block.rules);
    }
  }
  if (block.careful) std::copy(s, s + count, block.raw + r * block.sub_block);
  float* o = block.o + r * block.d_v_padded;
  if (fetch) {
    softmax_along_keys<true>(s, count, row.m, row.l, o, block.d_v_padded, fetch);
  } else {
    softmax_along_keys(s, count, row.m, row.l, o, block.d_v_padded);
  }
}

// o[N rows][V vectors] += weights·values over `keys` rows of values. With kPartial, only `lanes` of the vector are read.
// Each step prefetches one later row of values.
template <int N, int V, bool kPartial, class Page, class T>
HWY_INLINE void add_decoded(const float* HWY_RESTRICT weights, int64_t weight_stride, const T* HWY_RESTRICT values, Ahead ahead,
                            int64_t stride, int64_t keys, Lanes lanes, float* HWY_RESTRICT o, int64_t o_stride) {
  const F32 d;
  Floats sum[N * V];
  unroll<N>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { sum[r * V + v] = hn::Load(d, o + r * o_stride + v * kLanes); });
  });
  for (int64_t j = 0; j < keys; ++j) {
    ahead.fetch<static_cast<int>(sizeof(Page)) * V * kLanes>(j);
    Floats value[V];
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      if constexpr (kPartial) {
        value[v] = hn::MaskedLoad(lanes, d, values + v * kLanes);
      } else {
        value[v] = load_widened(values + v * kLanes);
      }
    });
    unroll<N>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
      const Floats weight = hn::Set(d, weights[r * weight_stride + j]);
      unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { sum[r * V + v] = hn::MulAdd(value[v], weight, sum[r * V + v]); });
    });
    values += stride;
  }
  unroll<N>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { hn::Store(sum[r * V + v], d, o + r * o_stride + v * kLanes); });
  });
}

// The same for all channels of one set of rows. A vector that extends past d_v is loaded with a mask, because the memory
// after it may not be readable.
template <int N, class Page, class T>
HWY_INLINE void add_decoded_rows(const float* weights, int64_t weight_stride, const T* values, const Ahead& ahead, int64_t stride,
                                 int64_t keys, int64_t d_v, float* o, int64_t o_stride) {
  const F32 d;
  constexpr int kWide = kLanes == 16 || N < 4 ? 4 : 2;
  const Lanes all = hn::FirstN(d, kLanes);
  int64_t c = 0;
  const auto from = [&] { return Ahead{ahead.at + c * static_cast<int64_t>(sizeof(Page)), ahead.part, ahead.turns}; };
  for (; c + kWide * kLanes <= d_v; c += kWide * kLanes) {
    add_decoded<N, kWide, false, Page>(weights, weight_stride, values + c, from(), stride, keys, all, o + c, o_stride);
  }
  for (; c + kLanes <= d_v; c += kLanes) {
    add_decoded<N, 1, false, Page>(weights, weight_stride, values + c, from(), stride, keys, all, o + c, o_stride);
  }
  if constexpr (std::is_same_v<T, float>) {  // rows of 16-bit values are whole vectors here
    if (c == d_v) return;
    const Lanes rest = hn::FirstN(d, static_cast<size_t>(d_v - c));
    add_decoded<N, 1, true, Page>(weights, weight_stride, values + c, from(), stride, keys, rest, o + c, o_stride);
  }
}

// O += P·V for the `keys` keys from `key` on, for all rows of the block. At most 2·kValueRows keys, all in one key tile.
template <class Page, class T>
HWY_INLINE void add_value_rows(const DecodeBlock& block, int64_t begin, int64_t key, int64_t keys, const T* values, const Page* next,
                               int64_t stride) {
  Ahead ahead{reinterpret_cast<const std::byte*>(next), stride * static_cast<int64_t>(sizeof(Page))};
  for_row_sets<kWeightRows>(block.row_count(), [&](auto n, int64_t row) CLEARHEAD_INLINE_LAMBDA {
    const float* weights = block.s + row * block.sub_block + (key - begin);
    float* o = block.o + row * block.d_v_padded;
    ahead.turns = Turns::of<kWeightRows>(row, block.row_count());
    add_decoded_rows<n, Page>(weights, block.sub_block, values, ahead, stride, keys, block.d_v, o, block.d_v_padded);
  });
}

template <class T>
HWY_NOINLINE void add_sub_block_values(const DecodeBlock& block, int64_t begin, int64_t end) {
  const int64_t key_length = block.view().key_length, row_bytes = static_cast<int64_t>(sizeof(T)) * std::max<int64_t>(1, block.d_v);
  const int64_t rows_ahead = round_up(std::max<int64_t>(1, kAhead / row_bytes), kValueRows);
  const int64_t most = block.row_count() <= kWeightRows ? std::clamp(rows_ahead, kValueRows, 2 * kValueRows) : kValueRows;
  // If d_v is not a multiple of kLanes, 16-bit values are widened in memory: a load of a row's last vector would extend into the
  // next row.
  const bool is_widened = block.d_v % kLanes != 0;
  const T* next = nullptr;  // pages: the keys that are scored next
  if (block.values.pages) next = end < block.key_end ? panel_at<T>(block.view(), end) : reinterpret_cast<const T*>(block.after);
  const auto ahead_of = [&](int64_t key) { return key < end ? block.values.in_page<T>(key) : next + (key - end) * block.d_v; };
  for (int64_t key = begin, keys = 0; key < end; key += keys) {
    keys = std::min({most, end - key, kKeyTile - key % kKeyTile});  // pages end at multiples of kKeyTile
    if constexpr (std::is_same_v<T, float>) {
      const float* values = block.values.rows(key, keys);
      const float* ahead =
          block.values.pages ? ahead_of(key + rows_ahead) : block.values.rows(std::min(key + rows_ahead, key_length - 1), 1);
      add_value_rows(block, begin, key, keys, values, ahead, block.values.stride);
    } else if (is_widened) {
      add_value_rows(block, begin, key, keys, block.values.rows(key, keys), ahead_of(key + rows_ahead), block.d_v);
    } else {
      add_value_rows(block, begin, key, keys, block.values.in_page<T>(key), ahead_of(key + rows_ahead), block.d_v);
    }
  }
}

// The same chains without the keys that a row does not see, so that their values cannot matter.
inline HWY_NOINLINE void add_sub_block_values_carefully(const DecodeBlock& block, int64_t begin, int64_t end) {
  for (int64_t key = begin; key < end; ++key) {
    const float* values = block.values.rows(key, 1);
    for (int64_t r = 0; r < block.row_count(); ++r) {
      const int64_t at = r * block.sub_block + (key - begin);
      if (block.raw[at] < kVisible) continue;
      for (int64_t c = 0; c < block.d_v; ++c) {
        float& o = block.o[r * block.d_v_padded + c];
        o = std::fma(values[c], block.s[at], o);
      }
    }
  }
}

// Sets `shown` of every row for keys [begin, end). Returns whether the visibility rule may show any key to any row.
inline bool look_at_rule(DecodeBlock& block, int64_t begin, int64_t end) {
  if (!block.view().visible) return true;
  bool any = false;
  for (DecodeRow& row : block.rows) {
    const int64_t position = row.view->position_of(row.query);
    row.shown = row.view->shown({position, position + 1}, {begin, std::min(end, row.view->key_length)});
    any = any || row.shown != Shown::kNone;
  }
  return any;
}

// Clears the sums of every row, at the beginning of an item.
inline void clear_sums(DecodeBlock& block) {
  std::fill(block.o, block.o + block.row_count() * block.d_v_padded, 0.0F);
  for (DecodeRow& row : block.rows) row.m = kNone, row.l = row.rounded = 0;
}
inline bool has_finite_sums(const DecodeBlock& block) {
  bool finite = is_finite(block.o, block.row_count() * block.d_v_padded);
  for (const DecodeRow& row : block.rows) finite = finite && row.l - row.l == 0;
  return finite;
}

// Computes m, ℓ and O of every row over the item's keys [begin, end). Returns whether all of them are finite.
inline bool decode_chunk(DecodeBlock& block, int64_t begin, int64_t end) {
  clear_sums(block);
  for (int64_t sub = begin; sub < end; sub += block.sub_block) {
    const int64_t sub_end = std::min(end, sub + block.sub_block);
    if (!look_at_rule(block, sub, sub_end)) continue;
    (block.view().function.is_dot() ? score_sub_block : score_additive)(block, sub, sub_end);
    const std::byte* fetch = block.values.pages ? block.values.values_at(sub) + kAhead / 2 : nullptr;
    for (int64_t r = 0; r < block.row_count(); ++r) {
      const int64_t offset = r * round_up(sub_end - sub, 16) * (64 / kLanes);
      weigh(block, r, block.s + r * block.sub_block, sub, sub_end, fetch && r < kFetchingRows ? fetch + offset : nullptr);
    }
    if (block.careful) {
      add_sub_block_values_carefully(block, sub, sub_end);
    } else {
      with_element(block.values.pages ? block.values.page_dtype : DType::kF32,
                   [&](auto element) { add_sub_block_values<decltype(element)>(block, sub, sub_end); });
    }
  }
  return has_finite_sums(block);
}

// --- one key head ---------------------------------------------------------------------------------------------------

// The partial results of all key heads and chunks: [key head][chunk][row][m, ℓ, ℓ', O…]. ℓ' is the sum of P as rounded to bf16.
struct Partials {
  static constexpr int64_t kNumbers = 3;  // m, ℓ and ℓ'
  std::vector<float> data{};
  int64_t row_floats = 0, rows = 0, chunks = 0, first_chunk = 0;
  float* at(int64_t key_head, int64_t chunk, int64_t row) { return data.data() + ((key_head * chunks + chunk) * rows + row) * row_floats; }
};

// Fills the members that DecodeBlock and Bf16DecodeBlock have in common.
inline void add_rows(const ForwardPlan& plan, int64_t batch, int64_t key_head, DecodeBlock& block) {
  const int64_t group = plan.problem.group();
  for (int64_t g = 0; g < group; ++g) block.views.push_back(plan.problem.view(batch, key_head * group + g));
  const ScoreView& view = block.view();
  block.values = plan.value_view(batch, view);
  block.d_v = plan.d_v;
  block.d_v_padded = round_up(std::max<int64_t>(1, plan.d_v), 16);
  for (int64_t g = 0; g < group; ++g) {
    for (int64_t i = 0; i < plan.rows; ++i) {
      DecodeRow row;
      row.view = &block.views[static_cast<size_t>(g)];
      row.head = key_head * group + g;
      row.query = i;
      row.band = view.band_of(i);
      row.segment = view.query_segments ? std::max(-1, view.query_segments[i * view.query_segment_stride]) : 0;
      block.rows.push_back(row);
    }
  }
  if (block.row_count() > 32) block.sub_block = 128;  // so that the scores of many rows stay in L2
}

inline void fill_block(const ForwardPlan& plan, int64_t batch, int64_t key_head, DecodeBlock& block) {
  add_rows(plan, batch, key_head, block);
  const ScoreView& view = block.view();
  const int64_t q_floats = round_up(block.row_count() * view.d_k, 16), s_floats = block.row_count() * block.sub_block;
  const int64_t o_floats = block.row_count() * block.d_v_padded;
  block.q = ThreadScratch::floats(q_floats + 2 * s_floats + o_floats + rule_line_floats(view, block.sub_block));
  block.s = block.q + q_floats;
  block.raw = block.s + s_floats;
  block.o = block.raw + s_floats;
  block.rules = block.o + o_floats;
  const auto pack = [&](auto n, int64_t first) {
    for (int64_t r = 0; r < n; ++r) {
      const DecodeRow& row = block.rows[static_cast<size_t>(first + r)];
      const float* from = row.view->queries + row.query * row.view->query_stride;
      for (int64_t c = 0; c < view.d_k; ++c) block.q[first * view.d_k + c * n + r] = view.query_at(from + c * view.query_channel);
    }
  };
  if (view.function.is_dot()) return for_row_sets<kScoreRows>(block.row_count(), pack);
  for (int64_t row = 0; row < block.row_count(); ++row) pack(std::integral_constant<int, 1>{}, row);
}

// The range of keys that some row of the call can see, by the band alone.
inline Range band_of_all(const ScoreView& view) {
  Range out{view.key_length, 0};
  for (int64_t i = 0; i < view.query_length; ++i) {
    const Range band = view.band_of(i);
    if (band.size() <= 0) continue;
    out.begin = std::min(out.begin, band.begin);
    out.end = std::max(out.end, band.end);
  }
  return out.begin < out.end ? out : Range{0, 0};
}

// The data that the items of a call share.
struct DecodeCall {
  const ForwardPlan& plan;
  Range keys{};
  int64_t key_heads = 0;
  Partials partials{};

  Range keys_of(int64_t item) const {
    const int64_t first = (partials.first_chunk + item % partials.chunks) * kChunk;
    return {std::max(first, keys.begin / 32 * 32), std::min(first + kChunk, keys.end)};
  }
  ScoreView view_of(int64_t head) const { return plan.problem.view(head / key_heads, head % key_heads * plan.problem.group()); }
};

// The address of the panels of `key` in its page; null if keys are not paged.
inline const std::byte* panels_of(const ScoreView& view, int64_t key) {
  if (!view.pages) return nullptr;
  if (view.is_bf16) return reinterpret_cast<const std::byte*>(panel_at<uint32_t>(view, key));
  return with_element(view.page_dtype,
                      [&](auto element) { return reinterpret_cast<const std::byte*>(panel_at<decltype(element)>(view, key)); });
}

// Computes items [begin, end) on one thread, in the order of memory. The block of a key head is prepared once.
template <class Block>
void decode_items(DecodeCall& call, Range items, int thread) {
  const ForwardPlan& plan = call.plan;
  const AmxOfAnItem matrices;
  std::optional<Block> held;
  int64_t head = -1;
  for (int64_t item = items.begin; item < items.end; ++item) {
    observe_item(item, thread, [&] {
      if (item / call.partials.chunks != head) {
        head = item / call.partials.chunks;
        fill_block(plan, head / call.key_heads, head % call.key_heads, held.emplace());
      }
      Block& block = *held;
      const Range keys = call.keys_of(item);
      block.key_end = keys.end;
      const int64_t next = std::min(item + 1, items.end - 1), next_head = next / call.partials.chunks;
      const ScoreView view = next_head == head ? block.view() : call.view_of(next_head);
      block.after = panels_of(view, call.keys_of(next).begin);
      if (view.pages) block.values_after = plan.value_view(next_head / call.key_heads, view).values_at(call.keys_of(next).begin);
      block.careful = false;
      if (!decode_chunk(block, keys.begin, keys.end)) {
        block.careful = true;
        decode_chunk(block, keys.begin, keys.end);
      }
      for (int64_t r = 0; r < block.row_count(); ++r) {
        float* to = call.partials.at(head, item % call.partials.chunks, r);
        const DecodeRow& row = block.rows[static_cast<size_t>(r)];
        to[0] = row.m, to[1] = row.l, to[2] = row.rounded;
        std::copy(block.o + r * block.d_v_padded, block.o + r * block.d_v_padded + plan.d_v, to + Partials::kNumbers);
      }
    });
  }
}

// Splits items into runs: long runs first, so that memory is read in long streams; short runs last, so that threads
// finish together.
inline std::vector<Range> runs_of_items(int64_t items) {
  std::vector<Range> runs;
  for (int64_t begin = 0; begin < items;) {
    const int64_t count = std::max<int64_t>(1, (items - begin) / (2 * threads()));
    runs.push_back({begin, begin + count});
    begin += count;
  }
  return runs;
}

inline float exp2_scalar(float c, float m) { return hn::GetLane(exp2_shifted(hn::Set(F32(), c), hn::Set(F32(), m))); }

// Merges row `row` of a key head: adds up the partial results in chunk order, then the sink, and writes out, m and ℓ.
inline void merge_row(const ForwardPlan& plan, Partials& partials, int64_t head_index, int64_t row) {
  const int64_t key_heads = plan.problem.heads() / plan.problem.group();
  const int64_t batch = head_index / key_heads, head = head_index % key_heads * plan.problem.group() + row / plan.rows,
                query = row % plan.rows;
  const int64_t step = plan.out_channel();
  float* out = plan.out_row(batch, head, query);
  float m = kNone, l = 0, rounded = 0;
  for (int64_t chunk = 0; chunk < partials.chunks; ++chunk) m = std::max(m, partials.at(head_index, chunk, row)[0]);
  bool is_empty = true;
  for (int64_t chunk = 0; chunk < partials.chunks; ++chunk) is_empty = is_empty && partials.at(head_index, chunk, row)[1] == 0;
  const ScoreView view = plan.problem.view(batch, head);
  if (!is_empty && view.sink && sink_of(view) > static_cast<double>(m + kHard)) m = static_cast<float>(std::ceil(sink_of(view)));
  std::vector<float> sum(static_cast<size_t>(plan.d_v), 0.0F);
  for (int64_t chunk = 0; chunk < partials.chunks && !is_empty; ++chunk) {
    const float* part = partials.at(head_index, chunk, row);
    const float factor = exp2_scalar(part[0], m);
    l = std::fma(part[1], factor, l);
    rounded = std::fma(part[2], factor, rounded);
    const float* o = part + Partials::kNumbers;
    for (int64_t c = 0; c < plan.d_v; ++c) sum[static_cast<size_t>(c)] = std::fma(o[c], factor, sum[static_cast<size_t>(c)]);
  }
  const float share = !is_empty && view.sink ? sink_share(sink_of(view), m) : 0;
  l += share;
  rounded += share;
  const float inverse = is_empty ? 0 : view.after.factor / (plan.used ? rounded : l);
  for (int64_t c = 0; c < plan.d_v; ++c) out[c * step] = sum[static_cast<size_t>(c)] * inverse;
  const int64_t at = plan.stats_row(batch, head, query);
  plan.m[at] = is_empty ? -std::numeric_limits<float>::infinity() : m;
  plan.l[at] = is_empty ? 0 : l;
  if (plan.used) plan.used[at] = is_empty ? 0 : rounded;
}

template <class Block = DecodeBlock>
void forward_decode(const ForwardPlan& plan) {
  DecodeCall call{plan, band_of_all(plan.problem.view(0, 0)), plan.problem.heads() / plan.problem.group()};
  Partials& partials = call.partials;
  partials.rows = plan.problem.group() * plan.rows;
  partials.row_floats = Partials::kNumbers + plan.d_v;
  partials.first_chunk = call.keys.begin / kChunk;
  partials.chunks = (call.keys.end + kChunk - 1) / kChunk - partials.first_chunk;
  const int64_t heads = plan.problem.batch() * call.key_heads;
  partials.data.resize(static_cast<size_t>(heads * partials.chunks * partials.rows * partials.row_floats));
  const std::vector<Range> runs = runs_of_items(heads * partials.chunks);
  parallel_for(static_cast<int64_t>(runs.size()),
               [&](int64_t run, int thread) { decode_items<Block>(call, runs[static_cast<size_t>(run)], thread); });
  parallel_ranges(heads * partials.rows, 64, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) merge_row(plan, partials, row / partials.rows, row % partials.rows);
  });
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
