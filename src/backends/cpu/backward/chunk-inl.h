// Gradients of one chunk of keys and a few blocks of queries at once: two in f32, four in bf16. Included once per target.
//
//   S = K·Qt → terms → P = 2^(S − M)      dP − D = V·dOt − D      dS = g·(dP − D) → terms in reverse
//   dQt += K·dS   over the chunk's keys      dV += P·dO,  dK += dS·Q   over the blocks' queries
//   factors a after the normaliser: dS = g·(a·dP − D), and P·a for dV
//     gradient of the head mask: Σ P·(a/mask)·dP      of a centre: Σ P·a·dP·(j − c)/σ²
//   softmax  g = P      linear: P = s, g = 1; 1/ℓ is in dO and D
//   hard     g is the softmax by which the key was chosen, computed from the chosen score (find_choices) and the
//            log-probability in the record
//   D is computed from out for softmax, linear, and hard with the score-function estimator. It is 0 for sigmoid. For
//   the other normalisers (g: weigh), D = Σ g·dP/Σ g needs an earlier pass over all keys (find_means).
//
// Softmax: the record's m and ℓ become M, an integer, and a factor f near 2^−16 (1/ℓ if |m| ≥ kWholeScores): the row's
// weights are 2^(s − M)·f. f is multiplied into dO instead of P: dO and D = Σ dO·O contain it, so dS and dV are complete
// without multiplying every (query, key) pair by it. Lanes past the last query, and rows without a key, have P = 0 because
// their M is ∞ (kNoRow). bf16: see Way.
//
// Scores are those of the forward pass (score_kernel-inl.h). All sums are chains of multiply-adds: dQ of a row over
// ascending keys, dK and dV of a key over queries in the order of backward.cc. Neither depends on the division into chunks.
//
// ±inf and NaN: a hidden pair's 0·NaN is NaN. Results that are not finite are computed again with `careful`: P and dS
// of hidden pairs are −0, and numbers that are not finite are multiplied only for visible pairs. Finite results get the
// same bits. Source: Dao 2023, algorithm 2.
#if defined(CLEARHEAD_CPU_BACKWARD_CHUNK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_BACKWARD_CHUNK_INL_H_
#undef CLEARHEAD_CPU_BACKWARD_CHUNK_INL_H_
#else
#define CLEARHEAD_CPU_BACKWARD_CHUNK_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <numeric>
#include <type_traits>
#include <vector>

#include "backends/cpu/backward/amx-inl.h"
#include "backends/cpu/backward/score-inl.h"
#include "backends/cpu/backward/scratch-inl.h"
#include "backends/cpu/backward/terms-inl.h"
#include "backends/cpu/forward/flash-inl.h"
#include "backends/cpu/score/lane_products-inl.h"
#include "backends/cpu/score/weight-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// Computes P and dS of one block over the groups of a chunk. An epilogue of for_each_group.
template <Way kWay>
struct BlockGradients {
  static constexpr bool kGeneral = kWay == Way::kGeneral, kBf16DotOnly = kWay == Way::kBf16Dot, kAmxOnly = kWay == Way::kAmx;
  static constexpr bool kNarrow = kIsNarrow<kWay>, kSums = false;
  const ScoreView* view = nullptr;
  const KeySide* keys = nullptr;
  const StripBlock* block = nullptr;
  const BackwardScratch* scratch = nullptr;
  const std::vector<TermGradient>* wanted = nullptr;  // [term]
  float *p = nullptr, *ds = nullptr;                  // [kChunkKeys][kStepsOfBlock], keys kWordsOfKey floats apart in bf16
  int64_t chunk = 0;
  bool careful = false, finds_means = false, finds_choices = false;
  bool leaves_zeros = false;  // a (query, key) pair whose weight is 0 is left out of all sums, even if its operands are NaN
  bool by_choice = false;     // hard, score-function estimator: dS = r·(1[j = c] − g), c: chosen key, r = D; minus_mean is −r
  int run_count = 0;
  Run runs[kGroups];
  uint8_t first[kGroups], last[kGroups];       // per group: vectors [first, last) hold P and dS
  alignas(64) float raw[kRows * kBlock];       // [key][vector][lane]: the group's scores, if careful or kGeneral
  alignas(64) float products[kRows * kBlock];  // kGeneral: dP, in the layout of raw; bf16: P, [key][kBlock]
  alignas(64) float d_scores[kRows * kBlock];  // bf16: dS, [key][kBlock]
  alignas(64) float means[kBlock];             // Σ g·dP of the chunk
  alignas(64) float slopes[kBlock];            // Σ g
  alignas(64) float mask_chunk[kBlock], centre_chunk[kBlock];
  int64_t products_key = -1;  // AMX: the first key of the products in scratch->value_products; −1 if there are none

  void begin(int64_t first_key, int slot) {
    chunk = first_key;
    const int64_t place = slot * kStepsOfBlock<StepOf<kWay>> * (kAmxOnly ? 1 : kChunkKeys);
    p = scratch->p + place;
    ds = scratch->ds + place;
    products_key = -1;
    run_count = 0;
    std::fill(first, first + kGroups, uint8_t{0});
    std::fill(last, last + kGroups, uint8_t{0});
  }

  HWY_INLINE void note(int32_t key, int first_vector, int vectors) {
    first[key / kRows] = static_cast<uint8_t>(first_vector);
    last[key / kRows] = static_cast<uint8_t>(first_vector + vectors);
    if (run_count > 0 && runs[run_count - 1].first_vector == first_vector && runs[run_count - 1].vectors == vectors &&
        runs[run_count - 1].end == key) {
      runs[run_count - 1].end = key + kRows;
    } else {
      runs[run_count++] = {key, key + kRows, first_vector, vectors};
    }
  }

  // Returns dP − D of the group of kRows keys, [key][kBlock], computed for kAmxKeys keys at a time as in amx_products.
  HWY_INLINE const float* value_products_of(int64_t key) {
    const int64_t first = key / kAmxKeys * kAmxKeys;
    if (products_key != first) {
      products_key = first;
      multiply_values(*view, *keys, *block, *scratch, first);
    }
    return scratch->value_products + (key - first) * kBlock;
  }

  // Returns the row-major values of a group. Past the last key, its row is repeated; P is 0 there.
  HWY_INLINE RowMajor values_of(int64_t key) const {
    if (HWY_UNLIKELY(key + kRows > view->key_length)) return copied_value_tail(key);
    return RowMajor(keys->values + key * keys->value_stride, keys->value_stride);
  }
  HWY_NOINLINE RowMajor copied_value_tail(int64_t key) const {
    for (int64_t r = 0; r < kRows; ++r) {
      const float* from = keys->values + std::min(key + r, view->key_length - 1) * keys->value_stride;
      std::copy(from, from + keys->value_words, scratch->value_tail + r * keys->value_words);
    }
    return RowMajor(scratch->value_tail, keys->value_words);
  }

  template <int V>
  HWY_INLINE void operator()(Scores<V>& s, int64_t key, int first_vector) {
    const F32 d;
    const int at = first_vector * kLanes;
    const int32_t in_chunk = static_cast<int32_t>(key - chunk);
    float *to_p = kNarrow ? products : p + in_chunk * kBlock + at, *to_ds = kNarrow ? d_scores : ds + in_chunk * kBlock + at;
    if (kGeneral || HWY_UNLIKELY(careful)) spill(s, raw);
    if constexpr (kGeneral) {
      if (HWY_UNLIKELY(finds_choices)) return keep_choices<V>(key, at);
      if (!weigh<V>(to_p, to_ds, key, at)) return;
    } else {
      unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
        const Floats shift = hn::Load(d, block->m + at + v * kLanes);
        unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
          const Floats score = s.c[r * V + v];
          hn::Store(kNarrow ? exp2_coarse<kAmxOnly>(score - shift) : exp2_shifted(score, shift), d, to_p + r * kBlock + v * kLanes);
        });
      });
    }
    Scores<V> g;
    if constexpr (kAmxOnly) {
      load_products(value_products_of(key) + at, 1, g);
    } else {
      unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
        const Floats minus_mean = kGeneral ? hn::Zero(d) : hn::Load(d, block->minus_mean + at + v * kLanes);
        unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA { g.c[r * V + v] = minus_mean; });
      });
      add_channels<V>(StepOf<kWay>(), block->d_out_t + at, values_of(key), keys->value_words, g);
    }
    if (HWY_UNLIKELY(!kNarrow && view->relative.values != nullptr)) {
      // Pass a copy, so that g's address is not taken and g stays in registers.
      Scores<V> all = g;
      add_offset_values(in_chunk, at, all);
      g = all;
    }
    if constexpr (kGeneral) {
      spill(g, products);
      if (finds_means) return add_means<V>(to_ds, key, at);
      reverse_weights<V>(to_p, to_ds, key, at);
    } else {
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
          const int64_t offset = r * kBlock + v * kLanes;
          hn::Store(g.c[r * V + v] * hn::Load(d, to_p + offset), d, to_ds + offset);
        });
      });
    }
    if (HWY_UNLIKELY(careful)) mark_hidden<V>(to_p), mark_hidden<V>(to_ds);
    if (view->terms) reverse_terms<V>(to_ds, in_chunk, key, first_vector);
    if constexpr (kNarrow) keep_words<V>(in_chunk, first_vector);
    note(in_chunk, first_vector, V);
  }
  // The same for a group of plain_amx: two keys at a time, storing only bf16.
  template <int V, bool>
  HWY_NOINLINE void take_products(const float* scores, float factor, int64_t key) {
    const F32 d;
    const Floats scale = hn::Set(d, factor);
    const int32_t in_chunk = static_cast<int32_t>(key - chunk);
    const float* value_products = value_products_of(key);
    unroll<kRows / 2>([&](auto pair) CLEARHEAD_INLINE_LAMBDA {
      Floats weights[2][V], gradients[2][V];
      unroll<2>([&](auto odd) CLEARHEAD_INLINE_LAMBDA {
        unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
          constexpr int at = (2 * pair + odd) * kBlock + v * kLanes;
          weights[odd][v] = exp2_coarse<kAmxOnly>(hn::Load(d, scores + at) * scale - hn::Load(d, block->m + v * kLanes));
          gradients[odd][v] = weights[odd][v] * hn::Load(d, value_products + at);
        });
      });
      keep_two_keys<V>(weights, gradients, in_chunk + 2 * pair, 0);
    });
    note(in_chunk, 0, V);
  }

  // Stores P and dS as words of two queries, and dS also as words of two keys. Not inlined, because its tables would take
  // registers from the products.
  template <int V>
  HWY_NOINLINE void keep_words(int32_t in_chunk, int first_vector) {
    const F32 d;
    unroll<kRows / 2>([&](auto pair) CLEARHEAD_INLINE_LAMBDA {
      Floats weights[2][V], gradients[2][V];
      unroll<2>([&](auto odd) CLEARHEAD_INLINE_LAMBDA {
        unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
          constexpr int at = (2 * pair + odd) * kBlock + v * kLanes;
          weights[odd][v] = hn::Load(d, products + at);
          gradients[odd][v] = hn::Load(d, d_scores + at);
        });
      });
      keep_two_keys<V>(weights, gradients, in_chunk + 2 * pair, first_vector);
    });
  }
  // The same for two keys.
  template <int V>
  HWY_INLINE void keep_two_keys(const Floats (&weights)[2][V], const Floats (&gradients)[2][V], int64_t in_chunk, int first_vector) {
    constexpr int kRow = kWordsOfKey<kWay>;
    const int64_t at = in_chunk * kRow + first_vector * (kLanes / 2);
    store_halves<V, false>(weights, p + at, p + at + kRow, nullptr);
    store_halves<V, true>(gradients, ds + at, ds + at + kRow, scratch->turned + in_chunk / 2 * kBlock + first_vector * kLanes);
  }

  // Relative scores (spec.h): pack_offset_values computes dO·C[δ] for the chunk; add_offset_values adds a group's part to dP.
  HWY_NOINLINE void pack_offset_values() const {
    const Range of{chunk, chunk + kChunkKeys};
    const OffsetSpan span(*view, block->queries, of);
    float* products = OffsetRoom(*view, scratch->tile).products;
    const int vectors = block->queries.vectors;
    offset_products(block->d_out_t, vectors, view->relative.values + span.first * keys->d_v, keys->d_v, span.count, scratch->value_tail,
                    products);
    spread_products(view->relative, span, vectors, of, products, scratch->offset_values);
  }
  template <int V>
  HWY_NOINLINE void add_offset_values(int32_t in_chunk, int at, Scores<V>& g) const {
    const float* from = scratch->offset_values + in_chunk * kBlock + at;
    unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
      unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { g.c[r * V + v] = g.c[r * V + v] + hn::Load(F32(), from + r * kBlock + v * kLanes); });
    });
  }

  template <int V>
  HWY_INLINE void spill(const Scores<V>& s, float* to) const {
    unroll<kRows * V>([&](auto i) CLEARHEAD_INLINE_LAMBDA { hn::Store(s.c[i], F32(), to + i * kLanes); });
  }

  // --- normalisers --------------------------------------------------------------------------------------------------

  // Calls f(offset in p and ds, index in raw and products, vector).
  template <int V, class F>
  HWY_INLINE void for_each_vector(F&& f) const {
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < V; ++v) f(r * kBlock + v * kLanes, (r * V + v) * kLanes, v);
    }
  }

  // Computes P and g from the scores in `raw`. Returns false if the normaliser has a threshold and all g are zero: the
  // group then adds nothing to any sum.
  template <int V>
  HWY_NOINLINE bool weigh(float* to_p, float* to_g, int64_t key, int at) {
    const F32 d;
    Lanes any = hn::FirstN(d, 0);
    with_kind(view->kind, [&](auto kind) CLEARHEAD_INLINE_LAMBDA {
      for_each_vector<V>([&](int offset, int index, int v) CLEARHEAD_INLINE_LAMBDA {
        const Floats s = hn::Load(d, raw + index), m = hn::Load(d, block->m + at + v * kLanes);
        Floats g;
        if constexpr (kind() == WeightKind::kSoftmax) {
          g = exp2_shifted(s, m);
          hn::Store(g, d, to_p + offset);
        } else if constexpr (kind() == WeightKind::kSigmoid) {
          const Floats weight = weight_of<kind()>(term_floor(s), m, hn::Set(d, 1.0F));
          g = hn::NegMulAdd(weight, weight, weight);
          hn::Store(weight, d, to_p + offset);
        } else if constexpr (kind() == WeightKind::kLinear) {
          // M is kNoRow in lanes that have no row.
          const Lanes none = hn::Or(hn::Lt(s, hn::Set(d, kVisible)), hn::Gt(m, hn::Zero(d)));
          hn::Store(hn::IfThenZeroElse(none, s * hn::Set(d, kLn2)), d, to_p + offset);
          g = hn::IfThenZeroElse(none, hn::Set(d, 1.0F));
        } else if constexpr (kind() == WeightKind::kHard) {
          const Floats chosen = hn::Load(d, block->chosen + at + v * kLanes);
          g = exp2_shifted(s, m) * hn::Load(d, block->share + at + v * kLanes);
          hn::Store(weight_of<kind()>(s, chosen, hn::Set(d, 1.0F), key + offset / kBlock), d, to_p + offset);
        } else {
          g = excess_of<kind()>(term_floor(s), m, hn::Load(d, block->threshold + at + v * kLanes));
          hn::Store(kind() == WeightKind::kEntmax15 ? g * g : g, d, to_p + offset);
          // 1 where the weight is above zero; NaN stays NaN.
          if (kind() == WeightKind::kSparsemax) g = hn::IfThenZeroElse(hn::Eq(g, hn::Zero(d)), hn::Set(d, 1.0F) + (g - g));
        }
        hn::Store(g, d, to_g + offset);
        any = hn::Or(any, hn::Not(hn::Eq(g, hn::Zero(d))));
      });
    });
    return !has_threshold(view->kind) || !hn::AllFalse(d, any);
  }
  // Stores the scores of the chosen keys, in base 2, in `means`.
  template <int V>
  HWY_NOINLINE void keep_choices(int64_t key, int at) {
    const F32 d;
    for_each_vector<V>([&](int offset, int index, int v) CLEARHEAD_INLINE_LAMBDA {
      const int lane = at + v * kLanes;
      const Lanes here = hn::Eq(hn::Set(d, static_cast<float>(key + offset / kBlock)), hn::Load(d, block->chosen + lane));
      hn::Store(hn::IfThenElse(here, hn::Load(d, raw + index), hn::Load(d, means + lane)), d, means + lane);
    });
  }
  // The dropout and Gaussian factors of one vector of pairs, without the head's factor.
  HWY_INLINE Floats after_of(int64_t key, int at) const {
    return view->after.is_by_pair() ? after_factor(view->after, block->queries, at, key) : hn::Set(F32(), 1.0F);
  }

  // g·product. If leaves_zeros, 0 where g is 0, even if the product is not finite.
  HWY_INLINE Floats weighted(Floats g, Floats product) const {
    const Floats x = g * product;
    return leaves_zeros ? hn::IfThenZeroElse(hn::Eq(g, hn::Zero(F32())), x) : x;
  }
  // Replaces P by P·a and g by dS = g·(a·dP − D).
  template <int V>
  HWY_NOINLINE void reverse_weights(float* p_of, float* g, int64_t key, int at) {
    const F32 d;
    const Floats factor = hn::Set(d, view->after.factor);
    for_each_vector<V>([&](int offset, int index, int v) CLEARHEAD_INLINE_LAMBDA {
      const int lane = at + v * kLanes;
      const int64_t j = key + offset / kBlock;
      const Floats after = after_of(j, lane), slope = hn::Load(d, g + offset), weight = hn::Load(d, p_of + offset);
      const Floats product = after * hn::Load(d, products + index);
      const Lanes hidden = hn::Lt(hn::Load(d, raw + index), hn::Set(d, kVisible));
      const Floats part = hn::IfThenZeroElse(hidden, weighted(weight, product));
      const Floats minus_mean = hn::Load(d, block->minus_mean + lane);
      const Floats cost = hn::IfThenZeroElse(hn::Eq(weight, hn::Zero(d)), minus_mean);  // −r at the chosen key
      hn::Store(by_choice ? hn::MulSub(slope, minus_mean, cost) : weighted(slope, hn::MulAdd(factor, product, minus_mean)), d, g + offset);
      hn::Store(weight * after * factor, d, p_of + offset);
      hn::Store(hn::Load(d, mask_chunk + lane) + part, d, mask_chunk + lane);
      if (!view->after.centres) return;
      const Floats ahead = hn::Set(d, static_cast<float>(j)) - hn::Load(d, block->queries.centre + lane);
      hn::Store(hn::MulAdd(part * factor, ahead, hn::Load(d, centre_chunk + lane)), d, centre_chunk + lane);
    });
  }
  template <int V>
  HWY_NOINLINE void add_means(const float* g, int64_t key, int at) {
    const F32 d;
    const Floats factor = hn::Set(d, view->after.factor);
    for_each_vector<V>([&](int offset, int index, int v) CLEARHEAD_INLINE_LAMBDA {
      const int lane = at + v * kLanes;
      const Floats slope = hn::Load(d, g + offset),
                   product = factor * after_of(key + offset / kBlock, lane) * hn::Load(d, products + index);
      hn::Store(hn::Load(d, means + lane) + weighted(slope, product), d, means + lane);
      hn::Store(hn::Load(d, slopes + lane) + slope, d, slopes + lane);
    });
  }
  void begin_after() {
    std::fill(mask_chunk, mask_chunk + kBlock, 0.0F);
    std::fill(centre_chunk, centre_chunk + kBlock, 0.0F);
  }
  void finish_after(StripBlock& to) const {
    for (int i = 0; i < kBlock; ++i) {
      to.mask_sum[i] += static_cast<double>(mask_chunk[i]);
      to.centre_sum[i] += static_cast<double>(centre_chunk[i]);
    }
  }

  // Sets the entries of hidden pairs to −0, and any other −0 to +0. If leaves_zeros, entries that are 0 count as hidden.
  template <int V>
  HWY_NOINLINE void mark_hidden(float* to) {
    const F32 d;
    for_each_vector<V>([&](int offset, int index, int) CLEARHEAD_INLINE_LAMBDA {
      const Floats x = hn::Load(d, to + offset);
      Lanes hidden = hn::Lt(hn::Load(d, raw + index), hn::Set(d, kVisible));
      if (kGeneral && leaves_zeros) hidden = hn::Or(hidden, hn::Eq(x, hn::Zero(d)));
      hn::Store(hn::IfThenElse(hidden, hn::Set(d, -0.0F), x + hn::Zero(d)), d, to + offset);
    });
  }

  // --- terms --------------------------------------------------------------------------------------------------------

  float* before_of(const ScoreTerm& term) const { return scratch->before + (&term - view->terms->data()) * kRows * kBlock; }

  template <int V>
  HWY_INLINE void before_term(const ScoreTerm& term, const Scores<V>& s) const {
    if (term.kind != ScoreTerm::Kind::kSoftCap && !(*wanted)[static_cast<size_t>(&term - view->terms->data())].rule) return;
    float* to = before_of(term);
    unroll<kRows * V>([&](auto i) CLEARHEAD_INLINE_LAMBDA { hn::Store(s.c[i], F32(), to + i * kLanes); });
  }

  // Replaces d_scores [kRows][kBlock], the gradient of the scores after all terms, by the gradient of the scores before all terms.
  template <int V>
  HWY_NOINLINE void reverse_terms(float* d_scores, int32_t in_chunk, int64_t key, int first_vector) {
    const F32 d;
    for (size_t t = view->terms->size(); t-- > 0;) {
      const ScoreTerm& term = (*view->terms)[t];
      const TermGradient& to = (*wanted)[t];
      if (term.kind == ScoreTerm::Kind::kSoftCap) {
        const float* before = before_of(term);
        for (int r = 0; r < kRows; ++r) {
          for (int v = 0; v < V; ++v) {
            float* at = d_scores + r * kBlock + v * kLanes;
            const Floats slope = tanh_slope(hn::Load(d, before + (r * V + v) * kLanes) * hn::Set(d, term.inverse_cap));
            hn::Store(hn::Load(d, at) * slope, d, at);
          }
        }
        if (HWY_UNLIKELY(careful)) mark_hidden<V>(d_scores);
      } else if (to.rule) {
        reverse_rule_term(term, to, V, d_scores, key, first_vector);
        if (HWY_UNLIKELY(careful)) mark_hidden<V>(d_scores);
      } else if (term.kind == ScoreTerm::Kind::kAlibi && to.slope) {
        add_slope<V>(d_scores, key, first_vector, scratch->d_slopes + t * kBlock);
      } else if (term.kind == ScoreTerm::Kind::kDense && to.bias) {
        float* kept = d_bias_of(t) + in_chunk * kBlock + first_vector * kLanes;
        for (int r = 0; r < kRows; ++r) {
          for (int v = 0; v < V; ++v) hn::Store(hn::Load(d, d_scores + r * kBlock + v * kLanes), d, kept + r * kBlock + v * kLanes);
        }
      }
    }
  }

  // Runs the rule again on its input scores, then in reverse.
  HWY_NOINLINE void reverse_rule_term(const ScoreTerm& term, const TermGradient& to, int vectors, float* d_scores, int64_t key,
                                      int first_vector) const {
    const F32 d;
    RuleGroup group(*to.rule, scratch->rule, kRows, vectors);
    const float* before = before_of(term);
    for (int64_t i = 0; i < kRows * vectors * kLanes; i += kLanes)
      hn::Store(hn::Load(d, before + i) * hn::Set(d, kLn2), d, group.scores + i);
    for (int r = 0; r < kRows; ++r) hn::Store(hn::Set(d, static_cast<float>(key + r)), d, group.keys_of_rows + r * kLanes);
    group.bank(RuleBank::kLane) = {block->queries.position + first_vector * kLanes, 0, 0, kLanes};
    group.bank(RuleBank::kKey) = {group.keys_of_rows, 0, kLanes, 0};
    group.reverse(term, to, [&](int64_t r, int64_t v) { return d_scores + r * kBlock + v * kLanes; });
  }

  // sums[lane] −= |p − j|·dS
  template <int V>
  HWY_INLINE void add_slope(const float* d_scores, int64_t key, int first_vector, float* sums) const {
    const F32 d;
    for (int v = 0; v < V; ++v) {
      const int at = (first_vector + v) * kLanes;
      const Floats position = hn::Load(d, block->queries.position + at);
      Floats sum = hn::Load(d, sums + at);
      for (int r = 0; r < kRows; ++r) {
        const Floats distance = hn::Abs(position - hn::Set(d, static_cast<float>(key + r)));
        sum = hn::NegMulAdd(distance, hn::Load(d, d_scores + r * kBlock + v * kLanes), sum);
      }
      hn::Store(sum, d, sums + at);
    }
  }

  // Before a chunk, begin_terms clears the sums of the gradients of terms' operands; finish_terms adds them to the gradients.
  void begin_terms() {
    if (!view->terms) return;
    std::fill(scratch->d_slopes, scratch->d_slopes + view->terms->size() * kBlock, 0.0F);
    for (size_t t = 0; t < view->terms->size(); ++t) {
      if ((*wanted)[t].per_edge) std::fill_n(d_bias_of(t), kChunkKeys * kBlock, 0.0F);
    }
  }
  void finish_terms() {
    if (!view->terms) return;
    const int count = block->queries.count;
    for (size_t t = 0; t < view->terms->size(); ++t) {
      const TermGradient& to = (*wanted)[t];
      if (to.slope) *to.slope = std::accumulate(scratch->d_slopes + t * kBlock, scratch->d_slopes + t * kBlock + count, *to.slope);
      if (to.per_edge) add_edges(d_bias_of(t), to.bias);
      for (int i = 0; i < run_count && to.bias && !to.per_edge; ++i) add_bias(runs[i], d_bias_of(t), to);
    }
  }
  float* d_bias_of(size_t term) const { return scratch->d_bias + static_cast<int64_t>(term) * kChunkKeys * kBlock; }

  HWY_NOINLINE void add_edges(const float* d_scores, float* to) const {
    const int64_t end = std::min(chunk + kChunkKeys, view->key_length);
    for_each_entry(*view, block->queries, chunk, end, [&](int lane, int lanes, int64_t entry, Range keys_of) {
      const int last = std::min(lane + lanes, block->queries.count);
      for (int64_t key = keys_of.begin; key < keys_of.end; ++key) {
        for (int i = lane; i < last; ++i) to[entry] += d_scores[(key - chunk) * kBlock + i];
      }
    });
  }

  // Adds the run's dS to the rows of the bias's gradient, or to its only row.
  HWY_NOINLINE void add_bias(const Run& run, const float* d_scores, const TermGradient& to) const {
    const F32 d;
    const int64_t end = std::min<int64_t>(run.end, view->key_length - chunk);
    for (int v = run.first_vector; v < run.first_vector + run.vectors; ++v) {
      const float* from = d_scores + v * kLanes;
      if (to.bias_query_stride == 0) {
        for (int64_t key = run.begin; key < end; ++key) {
          to.bias[chunk + key] += hn::GetLane(hn::SumOfLanes(d, hn::Load(d, from + key * kBlock)));
        }
        continue;
      }
      float* rows[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        const bool real = v * kLanes + i < block->queries.count;
        rows[i] = real ? to.bias + block->queries.query[v * kLanes + i] * to.bias_query_stride + chunk : scratch->spare;
      }
      int64_t key = run.begin;
      for (; key + 4 <= end; key += 4) {
        Floats t[4];
        unroll<4>([&](auto r) CLEARHEAD_INLINE_LAMBDA { t[r] = hn::Load(d, from + (key + r) * kBlock); });
        transpose_4x4_blocks(t[0], t[1], t[2], t[3]);
        unroll<4>([&](auto r) CLEARHEAD_INLINE_LAMBDA { store_quarters(load_quarters(rows, r, key) + t[r], rows, r, key); });
      }
      for (; key < end; ++key) {
        for (int i = 0; i < kLanes; ++i) rows[i][key] += from[key * kBlock + i];
      }
    }
  }
};

// --- several blocks and a chunk of keys -----------------------------------------------------------------------------

template <Way kWay>
struct ChunkJob {
  static constexpr bool kBf16DotOnly = kWay == Way::kBf16Dot, kAmxOnly = kWay == Way::kAmx;
  static constexpr int kTogether = kParts<StepOf<kWay>>;
  using Block = BlockGradients<kWay>;
  const ScoreView& view;
  const KeySide& keys;
  BackwardScratch& scratch;
  const std::vector<TermGradient>& wanted;
  bool careful = false;
  Block blocks[kTogether];

  ChunkJob(const ScoreView& scores, const KeySide& key_side, BackwardScratch& memory, const std::vector<TermGradient>& gradients, bool care)
      : view(scores), keys(key_side), scratch(memory), wanted(gradients), careful(care) {
    for (Block& block : blocks) {
      block.view = &view;
      block.keys = &keys;
      block.scratch = &scratch;
      block.wanted = &wanted;
      block.careful = careful;
      block.by_choice = view.kind == WeightKind::kHard && view.by_score_function;
      block.leaves_zeros = has_threshold(view.kind) || block.by_choice;
    }
    scratch.tile.careful = careful;
  }

  // Must be called before the blocks of a chunk.
  void begin_chunk(int64_t chunk) {
    if constexpr (kAmxOnly) lay_out_keys(view, chunk, scratch);
    if constexpr (!kBf16DotOnly) return;
    for (int64_t key = chunk; key < std::min(chunk + kChunkKeys, view.key_length); key += 2) {
      const auto* even = reinterpret_cast<const uint16_t*>(view.keys + key * view.key_stride);
      const auto* odd = key + 1 < view.key_length ? even + 2 * view.key_stride : nullptr;
      interleave(even, odd, 1, keys.d_k, scratch.key_words + (key - chunk) / 2 * keys.d_k);
    }
  }

  // Computes the gradients of `count` ≤ kTogether blocks and keys [chunk, chunk + kChunkKeys).
  void work(StripBlock* some, int count, int64_t chunk) {
    int runs = 0;
    for (int slot = 0; slot < kTogether; ++slot) {
      blocks[slot].begin(chunk, slot);
      if (slot < count) score(blocks[slot], some[slot]);
      runs += blocks[slot].run_count;
    }
    if (runs == 0) return;
    if constexpr (kAmxOnly) return add_keys_by_amx(some, count, chunk);
    add_keys(some, count, keys.d_v, keys.d_values, &StripBlock::d_out_rows, &Block::p);
    if constexpr (!kIsNarrow<kWay>) {
      for (int slot = 0; slot < count && view.relative; ++slot) reverse_offsets(blocks[slot], some[slot]);
      for (int slot = 0; slot < count && !view.function.is_dot(); ++slot) reverse_score_function(blocks[slot], some[slot]);
    }
    if (view.function.is_dot()) add_keys(some, count, keys.d_k, keys.d_keys, &StripBlock::q_rows, &Block::ds);
  }

  // Adds Σ g·dP over the chunk to block.mean and, for normalisers with a threshold, Σ g to block.divisor.
  void find_means(StripBlock& block, int64_t chunk) {
    Block& to = blocks[0];
    std::fill(to.means, to.means + kBlock, 0.0F);
    std::fill(to.slopes, to.slopes + kBlock, 0.0F);
    to.finds_means = true;
    look_through(block, chunk);
    to.finds_means = false;
    for (int i = 0; i < block.queries.count; ++i) {
      block.mean[i] += static_cast<double>(to.means[i]);
      if (has_threshold(view.kind)) block.divisor[i] += static_cast<double>(to.slopes[i]);
    }
  }

  // Writes the scores of chosen keys in [chunk, chunk + kChunkKeys) to block.m.
  void find_choices(StripBlock& block, int64_t chunk) {
    const auto is_here = [&](float key) { return static_cast<float>(chunk) <= key && key < static_cast<float>(chunk + kChunkKeys); };
    if (std::none_of(block.chosen, block.chosen + block.queries.count, is_here)) return;
    Block& to = blocks[0];
    std::copy(block.m, block.m + kBlock, to.means);
    to.finds_choices = true;
    look_through(block, chunk);
    to.finds_choices = false;
    std::copy(to.means, to.means + kBlock, block.m);
  }

 private:
  void look_through(StripBlock& block, int64_t chunk) {
    const TileSight sight = look_at(block, chunk);
    if (sight.empty()) return;
    blocks[0].begin(chunk, 0);
    blocks[0].block = &block;
    if (view.relative.values) blocks[0].pack_offset_values();
    for_each_group({view, block.queries, scratch.tile}, sight, blocks[0]);
  }

  TileSight look_at(const StripBlock& block, int64_t chunk) const {
    return prepare_tile({view, block.queries, scratch.tile}, chunk / kKeyTile * kKeyTile, {chunk, chunk + kChunkKeys});
  }

  void score(Block& to, StripBlock& block) {
    const TileSight sight = look_at(block, to.chunk);
    if (sight.empty()) return;
    to.block = &block;
    to.begin_terms();
    if (view.relative.values) to.pack_offset_values();
    if constexpr (Block::kGeneral) to.begin_after();
    for_each_group({view, block.queries, scratch.tile}, sight, to);
    to.finish_terms();
    if constexpr (Block::kGeneral) to.finish_after(block);
    if constexpr (kAmxOnly) {
      add_queries_by_amx(to, block);
    } else {
      for (int i = 0; i < to.run_count && view.function.is_dot(); ++i) add_queries(to, to.runs[i], block);
    }
  }
  // dQt += K·dS
  void add_queries_by_amx(const Block& from, StripBlock& block) const {
    if (from.run_count == 0) return;
    const int64_t step = view.amx_step;
    const int vectors = block.queries.vectors;
    const Range of = fill_between_runs(from.runs, from.run_count, vectors, step, scratch.turned);
    add_amx_values(scratch.turned, scratch.key_words, step, of, keys.d_k, vectors, careful, block.d_q_t);
  }
  // dV += P·dO, then dK += dS·Q, each for 16 keys at a time, so that the rows of dO stay in L1 first, then those of q.
  void add_keys_by_amx(const StripBlock* some, int count, int64_t chunk) {
    add_by_amx(&Block::p, some[0].d_out_rows, count, chunk, keys.d_v, keys.d_values);
    add_by_amx(&Block::ds, some[0].q_rows, count, chunk, keys.d_k, keys.d_keys);
  }
  void add_by_amx(float* Block::*words, const float* rows, int count, int64_t chunk, int64_t width, float* sums) {
    constexpr int kRow = kWordsOfKey<kWay>;
    // An even number of blocks, because the words of two blocks are a whole number of multiplications.
    const int used = (count + 1) / 2 * 2;
    for (int group = 0; group < kGroups; group += 2) {
      const auto has = [&](const Block& block) {
        return block.first[group] < block.last[group] || block.first[group + 1] < block.last[group + 1];
      };
      if (std::none_of(blocks, blocks + count, has)) continue;
      for (const Block* block = blocks; block < blocks + used; ++block) {
        for (int half = group; half < group + 2; ++half)
          fill_around(block->*words + half * kRows * kRow, kRow, block->first[half], block->last[half]);
      }
      const int64_t in_chunk = group * kRows, key = chunk + in_chunk;
      const KeyProducts products{view.amx_step, used * kStepsOfBlock<StepOf<kWay>>, kRow, view.key_length - key, careful, scratch.sum_tail};
      products.add(blocks[0].*words + in_chunk * kRow, rows, width, sums + key * width);
    }
  }

  // For relative scores: adds a block's contribution to the gradients of queries, keys and tables.
  void reverse_offsets(const Block& from, StripBlock& block) const {
    if (from.run_count == 0) return;
    const int64_t d_k = view.d_k;
    const OffsetSpan span(view, block.queries, {from.chunk, std::min(from.chunk + kChunkKeys, view.key_length)});
    const auto by_offset = [&](const float* weights) {
      return weights_by_offset(view, span, scratch.tile, [&](auto take) {
        for (int i = 0; i < from.run_count; ++i) {
          const Run& run = from.runs[i];
          take(Range{from.chunk + run.begin, std::min<int64_t>(from.chunk + run.end, view.key_length)}, run.first_vector * kLanes,
               std::min((run.first_vector + run.vectors) * kLanes, block.queries.count), weights + run.begin * kBlock);
        }
      });
    };
    const float* sums = by_offset(from.ds);
    add_run_values<kVectors>(sums, view.relative.keys + span.first * d_k, d_k, span.count, d_k, block.d_q_t);
    if (keys.d_offset_keys) add_rows(sums, block.q_rows, d_k, span, block.queries.count, keys.d_offset_keys);
    if (view.relative.query_bias) add_query_bias(sums, span, block.queries.count);
    if (view.relative.queries) reverse_key_offsets(from, span, block.queries.count);
    if (keys.d_offset_values) add_rows(by_offset(from.p), block.d_out_rows, keys.d_v, span, block.queries.count, keys.d_offset_values);
  }

  // table[first + x] += Σ over lanes of sums[x]·rows.
  void add_rows(const float* sums, const float* rows, int64_t width, const OffsetSpan& span, int count, float* table) const {
    for (int64_t x = 0; x < span.count; x += kRows) {
      LanePart parts[kTwoBlocks];
      parts[0] = {sums + x * kBlock, rows, 0, count};
      parts[1] = {sums, rows, 0, 0};
      float* to = table + (span.first + x) * width;
      if (x + kRows <= span.count) {
        add_group(parts, width, to, width);
        continue;
      }
      const int64_t left = (span.count - x) * width;
      std::fill(scratch.sum_tail, scratch.sum_tail + kRows * width, 0.0F);
      std::copy_n(to, left, scratch.sum_tail);
      add_group(parts, width, scratch.sum_tail, width);
      std::copy_n(scratch.sum_tail, left, to);
    }
  }

  // du += scale·Σ sums[x]·A[x], and dA[x] += scale·Σ sums[x]·u.
  void add_query_bias(const float* sums, const OffsetSpan& span, int count) const {
    for (int64_t x = 0; x < span.count; ++x) {
      const float sum = keys.scale * std::accumulate(sums + x * kBlock, sums + x * kBlock + count, 0.0F);
      if (sum == 0) continue;
      const int64_t row = (span.first + x) * view.d_k;
      for (int64_t c = 0; c < view.d_k; ++c) {
        keys.d_weight[c] += static_cast<double>(sum) * static_cast<double>(view.relative.keys[row + c]);
        if (keys.d_offset_keys) keys.d_offset_keys[row + c] += sum * view.relative.query_bias[c];
      }
    }
  }

  // dk_j += scale·dS·B[δ] and dB[δ] += scale·dS·k_j, one (query, key) pair at a time.
  void reverse_key_offsets(const Block& from, const OffsetSpan& span, int count) const {
    for (int64_t in_chunk = 0; in_chunk < std::min(kChunkKeys, view.key_length - from.chunk); ++in_chunk) {
      const int64_t group = in_chunk / kRows, key = from.chunk + in_chunk;
      const float* k = view.keys + key * view.key_stride;
      float* d_key = keys.d_keys + key * view.d_k;
      for (int i = from.first[group] * kLanes; i < std::min<int>(from.last[group] * kLanes, count); ++i) {
        const float ds = keys.scale * from.ds[in_chunk * kBlock + i];
        if (ds == 0) continue;  // the pair may be hidden, and then k must not be read
        const int64_t row = offset_row(key, span.position[i], view.relative.reach) * view.d_k;
        for (int64_t c = 0; c < view.d_k; ++c) d_key[c] += ds * view.relative.queries[row + c];
        if (!keys.d_offset_queries) continue;
        for (int64_t c = 0; c < view.d_k; ++c) keys.d_offset_queries[row + c] += ds * k[c];
      }
    }
  }

  // For additive scores: adds a block's contribution to the gradients of queries, keys and weights.
  void reverse_score_function(const Block& from, StripBlock& block) const {
    for (int group = 0; group < kGroups; ++group) {
      const int64_t first = from.first[group] * kLanes, in_chunk = group * kRows, key = from.chunk + in_chunk;
      const int64_t rows = std::min<int64_t>(kRows, view.key_length - key);
      if (from.first[group] == from.last[group] || rows <= 0) continue;
      reverse_additive(view.function, view.d_k, careful,
                       {.qt = block.queries.qt + first,
                        .ds = from.ds + in_chunk * kBlock + first,
                        .keys = view.keys + key * view.key_stride,
                        .key_stride = view.key_stride,
                        .rows = static_cast<int>(rows),
                        .vectors = from.last[group] - from.first[group],
                        .is_one = block.queries.count == 1,
                        .d_qt = block.d_q_t + first,
                        .d_keys = keys.d_keys + key * view.d_k,
                        .d_weight = keys.d_weight});
    }
  }

  void add_queries(const Block& from, const Run& run, StripBlock& block) const {
    if constexpr (kBf16DotOnly) return add_queries_of_words(from, run, block);
    const int64_t count = std::min<int64_t>(run.end, view.key_length - from.chunk) - run.begin;
    const float* ds = from.ds + run.begin * kBlock + run.first_vector * kLanes;
    const float* rows = view.keys + (from.chunk + run.begin) * view.key_stride;
    float* to = block.d_q_t + run.first_vector * kLanes;
    if (HWY_UNLIKELY(careful)) {
      add_run_values_carefully(run, ds, rows, view.key_stride, count, view.d_k, to);
    } else {
      add_run_values_of(run.vectors, ds, rows, view.key_stride, count, view.d_k, to);
    }
  }

  void add_queries_of_words(const Block& from, const Run& run, StripBlock& block) const {
    const int64_t pairs = (std::min<int64_t>(run.end, view.key_length - from.chunk) - run.begin + 1) / 2;
    const float* ds = scratch.turned + run.begin / 2 * kBlock + run.first_vector * kLanes;
    const float* rows = scratch.key_words + run.begin / 2 * keys.d_k;
    float* to = block.d_q_t + run.first_vector * kLanes;
    if (HWY_UNLIKELY(careful)) {
      add_run_words_carefully(run, ds, rows, keys.d_k, pairs, keys.d_k, to);
    } else {
      add_run_values_of<Bf16DotStep>(run.vectors, ds, rows, keys.d_k, pairs, keys.d_k, to);
    }
  }

  // sums[key] += Σ over the blocks' queries of weights·rows.
  void add_keys(const StripBlock* some, int count, int64_t width, float* sums, float* StripBlock::*rows, float* Block::*weights) {
    for (int group = 0; group < kGroups; ++group) {
      constexpr int kSteps = kStepsOfBlock<StepOf<kWay>>, kOfStep = kBlock / kSteps;
      LanePart parts[kTogether];
      int lanes = 0;
      for (int slot = 0; slot < count; ++slot) {
        const Block& block = blocks[slot];
        parts[slot].weights = block.*weights + group * kRows * kSteps;
        parts[slot].rows = some[slot].*rows;
        parts[slot].begin = block.first[group] * kLanes / kOfStep;
        parts[slot].end = (std::min<int>(block.last[group] * kLanes, some[slot].queries.count) + kOfStep - 1) / kOfStep;
        lanes += std::max(0, parts[slot].end - parts[slot].begin);
      }
      if (lanes == 0) continue;
      const int64_t key = blocks[0].chunk + group * kRows;
      if (HWY_UNLIKELY(key + kRows > view.key_length)) {
        add_last_keys(parts, width, sums, key);
      } else {
        add_group(parts, width, sums + key * width, width);
      }
    }
  }
  void add_group(const LanePart* parts, int64_t width, float* to, int64_t stride) const {
    if (HWY_LIKELY(!careful)) return add_group_products<StepOf<kWay>>(parts, width, to, stride);
    kBf16DotOnly ? add_word_products_carefully(parts, width, to, stride) : add_group_products_carefully(parts, width, to, stride);
  }
  // A group that extends past the last key is summed in scratch.
  void add_last_keys(const LanePart* parts, int64_t width, float* sums, int64_t key) const {
    const int64_t count = (view.key_length - key) * width;
    std::fill(scratch.sum_tail, scratch.sum_tail + kRows * width, 0.0F);
    std::copy(sums + key * width, sums + key * width + count, scratch.sum_tail);
    add_group(parts, width, scratch.sum_tail, width);
    std::copy(scratch.sum_tail, scratch.sum_tail + count, sums + key * width);
  }
};

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
