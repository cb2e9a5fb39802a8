// What one channel of q and k adds to a score: the step of the one chain that every kernel goes along. Included once per target.
//
//   s ← step(k_c, q_c, s)      c = 0, 1, …, from s = 0
//
// Lanes may be queries or keys: a step treats q and k alike, so the bits of a score do not depend on which kernel made it.
#if defined(CLEARHEAD_CPU_PAIR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_PAIR_INL_H_
#undef CLEARHEAD_CPU_PAIR_INL_H_
#else
#define CLEARHEAD_CPU_PAIR_INL_H_
#endif

#include "backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

/// q·k
struct DotStep {
  HWY_INLINE void enter(int64_t) {}
  HWY_INLINE Floats operator()(Floats k, Floats q, Floats s) const { return hn::MulAdd(k, q, s); }
};

HWY_INLINE Floats leaky_relu(Floats x, Floats slope) { return hn::IfThenElse(hn::Gt(x, hn::Zero(F32())), x, slope * x); }

/// w_c·φ(q_c + k_c)
template <PairView::Kind kKind>
struct AdditiveStep {
  const float* weight;  // times log₂e
  Floats w{}, slope;

  explicit AdditiveStep(const PairView& pair) : weight(pair.weight), slope(hn::Set(F32(), pair.slope)) {}
  HWY_INLINE void enter(int64_t channel) { w = hn::Set(F32(), weight[channel]); }
  HWY_INLINE Floats operator()(Floats k, Floats q, Floats s) const {
    return hn::MulAdd(w, kKind == PairView::Kind::kTanh ? tanh_of(q + k) : leaky_relu(q + k, slope), s);
  }
};

// f(the pair's step)
template <class F>
HWY_INLINE void with_step(const PairView& pair, F&& f) {
  if (HWY_LIKELY(pair.is_dot())) return f(DotStep());
  if (pair.kind == PairView::Kind::kTanh) return f(AdditiveStep<PairView::Kind::kTanh>(pair));
  f(AdditiveStep<PairView::Kind::kLeakyRelu>(pair));
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
