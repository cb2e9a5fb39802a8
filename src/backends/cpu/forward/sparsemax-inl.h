// Sparsemax and entmax-1.5, with blocks of queries in lanes and the scores of all of their keys in scratch. Included once
// per target.
//
//   scores of all keys → [key][lane] in scratch, and the largest score of each lane
//   an initial guess of the thresholds t from every eighth key, then Newton's method in all lanes at once, over a
//   shrinking list of keys:
//     sparsemax    Σ_j max(0, y_j − t) = 1          t += (Σ max(0, y − t) − 1) / #{y > t}
//     entmax-1.5   Σ_j max(0, y_j − t)² = 1         t += (Σ max(0, y − t)² − 1) / (2 Σ max(0, y − t))      y = s/2
//   P, by the same function that recomputes weights later (weight-inl.h); values of the listed keys; O / Σ P
//
// Both sums are convex in t. After the first step t lies below the solution and only increases, so a key that has left
// the list never returns. y is relative to the lane's largest score; t then lies in [−1, 0] and converges to 6e-8 for any
// magnitude of scores. (In this code y is in base 2, as the scores are; one factor at the end is accurate enough.) t is
// stored in this form: a record holds the largest score and t.
//
// A lane adds its keys in ascending order, decides by its own steps when to stop, and adds zeros for keys that are listed
// only because of its neighbours. So no bit depends on the neighbours. A value whose weight is zero does not count: if the
// results of a block are not all finite, it is computed again (`careful`), adding values only in lanes whose weight is
// not zero. Sources: Martins & Astudillo 2016; Peters, Niculae & Martins 2019; Condat 2016 for Newton's method on the
// simplex.
#if defined(CLEARHEAD_CPU_FORWARD_SPARSEMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_FORWARD_SPARSEMAX_INL_H_
#undef CLEARHEAD_CPU_FORWARD_SPARSEMAX_INL_H_
#else
#define CLEARHEAD_CPU_FORWARD_SPARSEMAX_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/forward/flash-inl.h"
#include "backends/cpu/score/weight-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// The value that Σ max(0, y − t)^power must have for y in base 2: (log₂e)¹ or (2·log₂e)².
template <WeightKind kKind>
inline constexpr float kMass = kKind == WeightKind::kEntmax15 ? 4 * kLog2E* kLog2E : kLog2E;
// τ > largest score − kDepth, in base-2 scores: the weight of a key with a lower score is zero.
template <WeightKind kKind>
inline constexpr float kDepth = kKind == WeightKind::kEntmax15 ? 2 * kLog2E : kLog2E;
inline constexpr int kMostSteps = 64;  // the largest number observed is 11

// The scores of a block of rows and all of their keys, and the list of keys that may have a weight. An epilogue of
// for_each_group.
struct ThresholdBlock {
  alignas(64) float largest[kBlock], t[kBlock], sum[kBlock];
  float* scores = nullptr;  // [key − first][kBlock]; later P
  float* o = nullptr;       // [d_v][kBlock]
  int32_t* list = nullptr;  // keys − first, ascending; followed by room for the sample
  int64_t d_v = 0, first = 0, count = 0;
  int vectors = 0;
  bool guesses = false;

  void reset(int64_t first_key) {
    std::fill(largest, largest + kBlock, kHidden);
    std::fill(o, o + d_v * kBlock, 0.0F);
    first = first_key, count = 0;
  }

  template <int V>
  HWY_INLINE void operator()(Scores<V>& s, int64_t key, int first_vector) {
    const F32 d;
    float* to = scores + (key - first) * kBlock;
    if (HWY_UNLIKELY(V < vectors)) hide_group(to);
    to += first_vector * kLanes;
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      Floats most = hn::Load(d, largest + (first_vector + v) * kLanes);
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        most = hn::Max(most, s.c[r * V + v]);
        hn::Store(s.c[r * V + v], d, to + r * kBlock + v * kLanes);
      });
      hn::Store(most, d, largest + (first_vector + v) * kLanes);
    });
    for (int r = 0; r < kRows; ++r) list[count + r] = static_cast<int32_t>(key - first) + r;
    count += kRows;
  }
  HWY_NOINLINE void hide_group(float* to) const {
    const F32 d;
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < vectors; ++v) hn::Store(hn::Set(d, kHidden), d, to + r * kBlock + v * kLanes);
    }
  }
};

// A list of keys that only shrinks.
struct KeyList {
  int32_t* keys = nullptr;
  int64_t count = 0;
};

// Performs one step of Newton's method, towards the sum `mass`, in every `open` lane. A lane is closed when its step is
// smaller than `done` times its mean excess. Keys at or below the t of every lane are removed from the list; with kFirst,
// where t may be too high, only keys at or below the lowest possible t are. NaN stays in the list. Returns whether any
// lane is still open.
template <WeightKind kKind, int V, bool kFirst>
HWY_NOINLINE bool step_thresholds(const ThresholdBlock& strip, float mass, float done, KeyList& list, Lanes* open, float* thresholds) {
  const F32 d;
  constexpr bool kSquared = kKind == WeightKind::kEntmax15;
  Floats top[V], t[V], sum[V], second[V];  // second: number of keys above t, or Σ max(0, y − t)
  unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
    top[v] = hn::Load(d, strip.largest + v * kLanes);
    t[v] = hn::Load(d, thresholds + v * kLanes);
    sum[v] = second[v] = hn::Zero(d);
  });
  const Floats one = hn::Set(d, 1.0F), lowest = hn::Set(d, -kDepth<kKind>);
  int64_t kept = 0;
  for (int64_t i = 0; i < list.count; ++i) {
    const int32_t key = list.keys[i];
    const float* at = strip.scores + int64_t{key} * kBlock;
    Lanes some = hn::FirstN(d, 0);
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      const Floats y = hn::Load(d, at + v * kLanes) - top[v], excess = y - t[v];
      const Lanes counts = hn::Not(hn::Le(excess, hn::Zero(d)));
      some = hn::Or(some, kFirst ? hn::Not(hn::Le(y, lowest)) : counts);
      if constexpr (kSquared) {
        const Floats r = hn::Max(hn::Zero(d), excess);
        sum[v] = hn::MulAdd(r, r, sum[v]);
        second[v] = second[v] + r;
      } else {
        sum[v] = hn::IfThenElse(counts, sum[v] + excess, sum[v]);
        second[v] = hn::IfThenElse(counts, second[v] + one, second[v]);
      }
    });
    list.keys[kept] = key;
    kept += !hn::AllFalse(d, some);
  }
  list.count = kept;
  bool any = false;
  unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
    const Floats slope = kSquared ? second[v] + second[v] : second[v];
    const Floats step = (sum[v] - hn::Set(d, mass)) / slope, mean = sum[v] / second[v];
    const Floats next = hn::Max(lowest, t[v] + step);
    hn::Store(hn::IfThenElse(open[v], next, t[v]), d, thresholds + v * kLanes);
    const Lanes moves = hn::AndNot(hn::Eq(next, t[v]), hn::Gt(hn::Abs(step), hn::Max(mean * hn::Set(d, done), hn::Set(d, 6e-8F))));
    open[v] = hn::And(open[v], moves);
    any = any || !hn::AllFalse(d, open[v]);
  });
  return any;
}

// Sets t to an initial guess from every eighth key, accurate to a few hundredths of the mean excess. It saves five passes
// over all keys.
template <WeightKind kKind, int V>
HWY_NOINLINE void guess_thresholds(ThresholdBlock& strip, const Lanes* sees) {
  Lanes open[V];
  for (int v = 0; v < V; ++v) open[v] = sees[v];
  KeyList sample{strip.list + strip.count, 0};
  for (int64_t i = 0; i < strip.count; i += kRows) {
    if (strip.list[i] % 8 == 0) sample.keys[sample.count++] = strip.list[i];
  }
  for (int step = 0; step < kMostSteps && step_thresholds<kKind, V, false>(strip, kMass<kKind> / 8, 0.1F, sample, open, strip.t); ++step) {
  }
}

// Finds the thresholds `t` of all lanes, in natural units.
template <WeightKind kKind, int V>
HWY_NOINLINE void find_thresholds(ThresholdBlock& strip) {
  const F32 d;
  Lanes sees[V];
  unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
    const Floats top = hn::Load(d, strip.largest + v * kLanes), depth = hn::Set(d, kDepth<kKind>);
    sees[v] = hn::Not(hn::Lt(top, hn::Set(d, kVisible)));
    // With a score of +∞ there is no threshold, so t is NaN. A lane that sees no key lists none.
    hn::Store(hn::IfThenElse(sees[v], hn::Zero(d) - depth - (top - top), hn::Zero(d)), d, strip.t + v * kLanes);
    hn::Store(hn::IfThenElse(sees[v], top, hn::Zero(d)), d, strip.largest + v * kLanes);
  });
  // `guesses` depends on the call's key length alone, so no row's bits depend on the other rows of its block.
  if (strip.guesses) guess_thresholds<kKind, V>(strip, sees);
  constexpr float kDone =
      // The bound at which to stop. Each step squares the error, so after such a step the error is below f32 precision.
      kKind == WeightKind::kEntmax15 ? 3e-5F : 1e-6F;
  KeyList list{strip.list, strip.count};
  bool open = step_thresholds<kKind, V, true>(strip, kMass<kKind>, kDone, list, sees, strip.t);
  for (int step = 0; open && step < kMostSteps; ++step)
    open = step_thresholds<kKind, V, false>(strip, kMass<kKind>, kDone, list, sees, strip.t);
  strip.count = list.count;
  // The same factor as in weight-inl.h, from base 2 to natural units (entmax-1.5: half natural units).
  const Floats unit = hn::Set(d, kKind == WeightKind::kEntmax15 ? kLn2 / 2 : kLn2);
  for (int v = 0; v < V; ++v) hn::Store(hn::Load(d, strip.t + v * kLanes) * unit, d, strip.t + v * kLanes);
}

// Replaces the scores of the listed keys by weights, and sums the weights. Keys whose weight is zero in all lanes are
// removed from the list.
template <WeightKind kKind, int V>
HWY_NOINLINE void weigh_list(ThresholdBlock& strip) {
  const F32 d;
  Floats top[V], t[V], sum[V];
  unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
    top[v] = hn::Load(d, strip.largest + v * kLanes);
    t[v] = hn::Load(d, strip.t + v * kLanes);
    sum[v] = hn::Zero(d);
  });
  int64_t kept = 0;
  for (int64_t i = 0; i < strip.count; ++i) {
    const int32_t key = strip.list[i];
    float* at = strip.scores + int64_t{key} * kBlock;
    Lanes some = hn::FirstN(d, 0);
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      const Floats excess = excess_of<kKind>(hn::Load(d, at + v * kLanes), top[v], t[v]);
      some = hn::Or(some, hn::Not(hn::Le(excess, hn::Zero(d))));
      const Floats p = kKind == WeightKind::kEntmax15 ? excess * excess : excess;
      sum[v] = sum[v] + p;
      hn::Store(p, d, at + v * kLanes);
    });
    strip.list[kept] = key;
    kept += !hn::AllFalse(d, some);
  }
  strip.count = kept;
  unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { hn::Store(sum[v], d, strip.sum + v * kLanes); });
}

// --- values of listed keys ------------------------------------------------------------------------------------------

// o[C channels][V vectors] += Σ_j p[j]·values[j][C channels] over the listed keys j. `values` begins at the key that the
// list calls 0.
template <int C, int V>
HWY_INLINE void add_kept(const int32_t* HWY_RESTRICT list, int64_t count, const float* HWY_RESTRICT p, const float* HWY_RESTRICT values,
                         int64_t stride, float* HWY_RESTRICT o) {
  const F32 d;
  Floats sum[C * V];
  unroll<C>([&](auto c) CLEARHEAD_INLINE_LAMBDA {
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { sum[c * V + v] = hn::Load(d, o + c * kBlock + v * kLanes); });
  });
#pragma GCC unroll 2
  for (int64_t i = 0; i < count; ++i) {
    const int64_t key = list[i];
    const float *weights = p + key * kBlock, *row = values + key * stride;
    Floats weight[V];
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { weight[v] = hn::Load(d, weights + v * kLanes); });
    unroll<C>([&](auto c) CLEARHEAD_INLINE_LAMBDA {
      const Floats value = hn::Set(d, row[c]);
      unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { sum[c * V + v] = hn::MulAdd(value, weight[v], sum[c * V + v]); });
    });
  }
  unroll<C>([&](auto c) CLEARHEAD_INLINE_LAMBDA {
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { hn::Store(sum[c * V + v], d, o + c * kBlock + v * kLanes); });
  });
}

template <int V>
HWY_NOINLINE void add_kept_values(const int32_t* list, int64_t count, const float* p, const float* values, int64_t stride, int64_t d_v,
                                  float* o) {
  int64_t c = 0;
  for (; c + kColumns <= d_v; c += kColumns) add_kept<kColumns, V>(list, count, p, values + c, stride, o + c * kBlock);
  for (; c + 2 <= d_v; c += 2) add_kept<2, V>(list, count, p, values + c, stride, o + c * kBlock);
  for (; c < d_v; ++c) add_kept<1, V>(list, count, p, values + c, stride, o + c * kBlock);
}

// The same sums, only in lanes whose weight is not zero.
inline HWY_NOINLINE void add_kept_carefully(const int32_t* list, int64_t count, const float* p, const float* values, int64_t stride,
                                            const ThresholdBlock& strip) {
  const F32 d;
  for (int64_t i = 0; i < count; ++i) {
    for (int v = 0; v < strip.vectors; ++v) {
      const Floats weight = hn::Load(d, p + list[i] * kBlock + v * kLanes);
      const Lanes none = hn::Eq(weight, hn::Zero(d));
      for (int64_t c = 0; c < strip.d_v; ++c) {
        float* at = strip.o + c * kBlock + v * kLanes;
        const Floats old = hn::Load(d, at), sum = hn::MulAdd(hn::Set(d, values[list[i] * stride + c]), weight, old);
        hn::Store(hn::IfThenElse(none, old, sum), d, at);
      }
    }
  }
}

// Adds values key tile by key tile, because values may lie in pages.
inline void add_strip_values(const ValueView& values, bool careful, ThresholdBlock& strip) {
  for (int64_t begin = 0, end = 0; begin < strip.count; begin = end) {
    const int64_t tile = (strip.first + strip.list[begin]) / kKeyTile * kKeyTile;
    const int32_t last = static_cast<int32_t>(tile + kKeyTile - strip.first);
    end = std::lower_bound(strip.list + begin, strip.list + strip.count, last) - strip.list;
    const int64_t keys = strip.first + strip.list[end - 1] + 1 - tile;
    const float* from = values.rows(tile, keys) - (tile - strip.first) * values.stride;  // row of key `first`
    const int32_t* list = strip.list + begin;
    if (HWY_UNLIKELY(careful)) {
      add_kept_carefully(list, end - begin, strip.scores, from, values.stride, strip);
    } else if (strip.vectors == 3) {
      add_kept_values<3>(list, end - begin, strip.scores, from, values.stride, strip.d_v, strip.o);
    } else if (strip.vectors == 2) {
      add_kept_values<2>(list, end - begin, strip.scores, from, values.stride, strip.d_v, strip.o);
    } else {
      add_kept_values<1>(list, end - begin, strip.scores, from, values.stride, strip.d_v, strip.o);
    }
  }
}

// The same for the value offsets of a relative score.
inline HWY_NOINLINE void add_strip_offsets(const TileContext& in, ThresholdBlock& strip) {
  for (int64_t begin = 0, end = 0; begin < strip.count; begin = end) {
    const int64_t tile = (strip.first + strip.list[begin]) / kKeyTile * kKeyTile;
    const int32_t last = static_cast<int32_t>(tile + kKeyTile - strip.first);
    end = std::lower_bound(strip.list + begin, strip.list + strip.count, last) - strip.list;
    const OffsetSpan span(in.view, in.block, {tile, std::min(tile + kKeyTile, in.view.key_length)});
    const float* sums = weights_by_offset(in.view, span, in.scratch, [&](auto take) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t key = strip.first + strip.list[i];
        if (key < in.view.key_length) take(Range{key, key + 1}, 0, strip.vectors * kLanes, strip.scores + strip.list[i] * kBlock);
      }
    });
    add_run_values<kVectors>(sums, in.view.relative.values + span.first * strip.d_v, strip.d_v, span.count, strip.d_v, strip.o);
  }
}

// --- one block ------------------------------------------------------------------------------------------------------

template <WeightKind kKind>
inline void normalise_strip(ThresholdBlock& strip) {
  if (strip.vectors == 3) return find_thresholds<kKind, 3>(strip), weigh_list<kKind, 3>(strip);
  if (strip.vectors == 2) return find_thresholds<kKind, 2>(strip), weigh_list<kKind, 2>(strip);
  find_thresholds<kKind, 1>(strip), weigh_list<kKind, 1>(strip);
}

// Applies dropout and the Gaussian to the weights of the listed keys.
inline HWY_NOINLINE void change_kept(const AfterView& after, const QueryBlock& queries, ThresholdBlock& strip) {
  const F32 d;
  for (int64_t i = 0; i < strip.count; ++i) {
    for (int v = 0; v < strip.vectors; ++v) {
      float* at = strip.scores + strip.list[i] * kBlock + v * kLanes;
      hn::Store(hn::Load(d, at) * after_factor(after, queries, v * kLanes, strip.first + strip.list[i]), d, at);
    }
  }
}

inline void attend_strip(const ScoreView& view, const ValueView& values, const QueryBlock& queries, const TileScratch& scratch,
                         ThresholdBlock& strip) {
  const int64_t last = queries.last_key(), first = std::min(queries.first_key(), last) / kKeyTile * kKeyTile;
  strip.reset(first);
  for (int64_t tile = next_tile(view, queries, first, last); tile < last; tile = next_tile(view, queries, tile + kKeyTile, last)) {
    const TileSight sight = prepare_tile({view, queries, scratch}, tile);
    if (!sight.empty()) for_each_group({view, queries, scratch}, sight, strip);
  }
  if (view.kind == WeightKind::kEntmax15) {
    normalise_strip<WeightKind::kEntmax15>(strip);
  } else {
    normalise_strip<WeightKind::kSparsemax>(strip);
  }
  if (view.after.is_by_pair()) change_kept(view.after, queries, strip);
  add_strip_values(values, scratch.careful, strip);
  if (view.relative.values) add_strip_offsets({view, queries, scratch}, strip);
}

inline void strip_block(const ForwardPlan& plan, int64_t batch, int64_t head, int64_t begin, int count) {
  const ScoreView view = plan.problem.view(batch, head);
  const ValueView values = plan.value_view(batch, view);
  Range keys{view.key_length, 0};
  for (int i = 0; i < count; ++i) {
    const Range band = view.band_of(view.query_of(begin + i));
    if (band.size() > 0) keys = {std::min(keys.begin, band.begin), std::max(keys.end, band.end)};
  }
  constexpr int64_t kGuesses = 512;  // from this key length on, the initial guess pays
  const int64_t room = round_up(std::max<int64_t>(1, keys.end - keys.begin / kKeyTile * kKeyTile), 16);
  const int64_t qt_floats = view.d_k * kBlock, o_floats = plan.d_v * kBlock, spare_floats = round_up(plan.d_v, 16);
  float* memory = ThreadScratch::floats(qt_floats + o_floats + spare_floats + room * (kBlock + 2) + tile_scratch_floats(view));
  QueryBlock queries;
  ThresholdBlock strip;
  queries.qt = memory;
  strip.o = memory + qt_floats;
  strip.d_v = plan.d_v;
  float* spare = strip.o + o_floats;
  strip.scores = spare + spare_floats;
  strip.list = reinterpret_cast<int32_t*>(strip.scores + room * kBlock);
  TileScratch scratch = make_tile_scratch(view, strip.scores + room * (kBlock + 2));
  int64_t rows[kBlock];
  OutputRows out;
  out.channel = plan.out_channel();
  for (int i = 0; i < count; ++i) rows[i] = begin + i, out.rows[i] = plan.out_row(batch, head, begin + i);
  pack_queries(view, rows, count, queries);
  strip.vectors = queries.vectors;
  strip.guesses = view.key_length >= kGuesses;
  for (const bool careful : {false, true}) {
    scratch.careful = careful;
    attend_strip(view, values, queries, scratch, strip);
    alignas(64) float factor[kBlock];
    const int64_t first_row = plan.stats_row(batch, head, begin);
    for (int i = 0; i < queries.vectors * kLanes; ++i) {
      const bool is_empty = strip.sum[i] == 0;  // a row that sees a key has Σ P > 0
      factor[i] = is_empty ? 0 : view.after.factor / strip.sum[i];
      if (i >= count) continue;
      plan.m[first_row + i] = is_empty ? -std::numeric_limits<float>::infinity() : strip.largest[i];
      plan.l[first_row + i] = is_empty ? 0 : strip.t[i];
    }
    if (store_outputs(strip.o, factor, queries, plan.d_v, out, spare)) return;
  }
}

inline void forward_sparsemax(const ForwardPlan& plan) {
  for_each_block(plan, 1, [&](int64_t batch, int64_t head, std::span<const BlockRange> blocks, int) {
    strip_block(plan, batch, head, blocks[0].begin, blocks[0].count);
  });
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
