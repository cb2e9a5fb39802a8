// Gradients of an additive score with respect to q, k and the weights. Included once per target.
//
//   x = q_ic + k_jc      dq_ic += Σ_j dS_ij·w_c·φ'(x)      dk_jc += Σ_i dS_ij·w_c·φ'(x)      dw_c += Σ_ij dS_ij·φ(x)
//
// Lanes hold queries or, if there is only one query, channels, with the same bits. φ is computed again. dq is summed over
// ascending keys; dk over a block's lanes by a fixed tree, then over blocks and strips in the order of backward.cc; dw
// group by group, in double, for each strip separately.
#if defined(CLEARHEAD_CPU_BACKWARD_SCORE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_BACKWARD_SCORE_INL_H_
#undef CLEARHEAD_CPU_BACKWARD_SCORE_INL_H_
#else
#define CLEARHEAD_CPU_BACKWARD_SCORE_INL_H_
#endif

#include <algorithm>
#include <cmath>

#include "backends/cpu/score/score_view.h"
#include "backends/cpu/score/steps-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// One group of keys and a range of a block's vectors.
struct AdditiveGroup {
  const float* qt = nullptr;    // [d_k][kBlock], from the first vector
  const float* ds = nullptr;    // [key][kBlock], from the first vector
  const float* keys = nullptr;  // row-major, from the group's first key
  int64_t key_stride = 0;
  int rows = 0, vectors = 0;   // number of keys; number of vectors that hold dS
  bool is_one = false;         // only the first lane holds a query
  float* d_qt = nullptr;       // same layout as qt
  float* d_keys = nullptr;     // [key][d_k]
  double* d_weight = nullptr;  // [d_k]
};

// φ(x) and its derivative.
template <ScoreFunction::Kind kKind>
HWY_INLINE void activate(Floats x, Floats slope_below, Floats& value, Floats& slope) {
  const F32 d;
  if constexpr (kKind == ScoreFunction::Kind::kTanh) {
    value = tanh_of(x);
    slope = tanh_slope(x);
  } else {
    value = leaky_relu(x, slope_below);
    slope = hn::IfThenElse(hn::Gt(x, hn::Zero(d)), hn::Set(d, 1.0F), slope_below);
  }
}

// kCareful: dS = −0 marks a hidden (query, key) pair, whose q and k add nothing to any sum.
template <ScoreFunction::Kind kKind, bool kCareful>
HWY_NOINLINE void reverse_additive(const ScoreFunction& pair, int64_t d_k, const AdditiveGroup& of) {
  const F32 d;
  const I32 di;
  const Floats slope_below = hn::Set(d, pair.slope);
  alignas(64) float sums[kLanes];
  for (int64_t c = 0; c < d_k; ++c) {
    const Floats weight = hn::Set(d, pair.natural_weight[c]);
    Floats of_key[kRows], of_weight = hn::Zero(d);
    for (int r = 0; r < kRows; ++r) of_key[r] = hn::Zero(d);
    for (int v = 0; v < of.vectors; ++v) {
      const int64_t at = c * kBlock + v * kLanes;
      const Floats q = hn::Load(d, of.qt + at);
      Floats of_query = hn::Load(d, of.d_qt + at);
      for (int r = 0; r < of.rows; ++r) {
        const Floats ds = hn::Load(d, of.ds + r * kBlock + v * kLanes);
        Floats value, slope;
        activate<kKind>(q + hn::Set(d, of.keys[r * of.key_stride + c]), slope_below, value, slope);
        if (kCareful) {
          const Lanes hidden = hn::RebindMask(d, hn::Eq(hn::BitCast(di, ds), hn::Set(di, INT32_MIN)));
          value = hn::IfThenZeroElse(hidden, value);
          slope = hn::IfThenZeroElse(hidden, slope);
        }
        const Floats g = ds * (weight * slope);
        of_query = of_query + g;
        of_key[r] = of_key[r] + g;
        of_weight = hn::MulAdd(ds, value, of_weight);
      }
      hn::Store(of_query, d, of.d_qt + at);
    }
    hn::Store(sums_of_rows(of_key), d, sums);
    for (int r = 0; r < of.rows; ++r) of.d_keys[r * d_k + c] += sums[r];
    of.d_weight[c] += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, of_weight)));
  }
}

// The same for the first query only, with channels in lanes.
template <ScoreFunction::Kind kKind>
HWY_NOINLINE void reverse_additive_of_one(const ScoreFunction& pair, int64_t d_k, bool careful, const AdditiveGroup& of) {
  const F32 d;
  const Floats slope_below = hn::Set(d, pair.slope);
  alignas(64) float lanes[kLanes] = {};
  for (int64_t c = 0; c < d_k; c += kLanes) {
    const auto count = static_cast<size_t>(std::min<int64_t>(kLanes, d_k - c));
    const Lanes exist = hn::FirstN(d, count);
    const auto column = [&](const float* from) {
      for (size_t lane = 0; lane < count; ++lane) lanes[lane] = from[(c + static_cast<int64_t>(lane)) * kBlock];
      return hn::Load(d, lanes);
    };
    const Floats q = column(of.qt), weight = hn::MaskedLoad(exist, d, pair.natural_weight + c);
    Floats of_query = column(of.d_qt), of_weight = hn::Zero(d);
    for (int r = 0; r < of.rows; ++r) {
      const float one = of.ds[r * kBlock];
      if (careful && one == 0 && std::signbit(one)) continue;  // hidden
      const Floats ds = hn::Set(d, one);
      Floats value, slope;
      activate<kKind>(q + hn::MaskedLoad(exist, d, of.keys + r * of.key_stride + c), slope_below, value, slope);
      const Floats g = ds * (weight * slope);
      of_query = of_query + g;
      float* d_key = of.d_keys + r * d_k + c;
      hn::BlendedStore(hn::MaskedLoad(exist, d, d_key) + g, exist, d, d_key);
      of_weight = hn::MulAdd(ds, value, of_weight);
    }
    hn::Store(of_query, d, lanes);
    for (size_t lane = 0; lane < count; ++lane) of.d_qt[(c + static_cast<int64_t>(lane)) * kBlock] = lanes[lane];
    hn::Store(of_weight, d, lanes);
    for (size_t lane = 0; lane < count; ++lane) of.d_weight[c + static_cast<int64_t>(lane)] += static_cast<double>(lanes[lane]);
  }
}

inline void reverse_additive(const ScoreFunction& pair, int64_t d_k, bool careful, const AdditiveGroup& of) {
  using Kind = ScoreFunction::Kind;
  if (of.is_one) {
    (pair.kind == Kind::kTanh ? reverse_additive_of_one<Kind::kTanh> : reverse_additive_of_one<Kind::kLeakyRelu>)(pair, d_k, careful, of);
  } else if (pair.kind == Kind::kTanh) {
    (careful ? reverse_additive<Kind::kTanh, true> : reverse_additive<Kind::kTanh, false>)(pair, d_k, of);
  } else {
    (careful ? reverse_additive<Kind::kLeakyRelu, true> : reverse_additive<Kind::kLeakyRelu, false>)(pair, d_k, of);
  }
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
