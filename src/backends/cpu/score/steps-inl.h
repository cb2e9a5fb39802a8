// Steps: the contribution of one channel of q and k to a score. Every kernel computes a score as a chain of steps.
// Included once per target.
//
//   s ← step(k_c, q_c, s)      c = 0, 1, …, from s = 0
//
// Lanes may hold queries or keys. A step treats q and k alike, so the bits of a score do not depend on the kernel.
#if defined(CLEARHEAD_CPU_SCORE_STEPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_SCORE_STEPS_INL_H_
#undef CLEARHEAD_CPU_SCORE_STEPS_INL_H_
#else
#define CLEARHEAD_CPU_SCORE_STEPS_INL_H_
#endif

#include "backends/cpu/score/score_view.h"
#include "backends/cpu/simd/bf16-inl.h"
#include "backends/cpu/simd/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// For chains whose state is one number. The state of AmxStep is an AmxSum (amx-inl.h).
HWY_INLINE void start_sum(Floats& s) { s = hn::Zero(F32()); }
HWY_INLINE Floats value_of(Floats s) { return s; }

/// q·k
struct DotStep {
  using Sum = Floats;
  HWY_INLINE void enter(int64_t) {}
  HWY_INLINE Floats operator()(Floats k, Floats q, Floats s) const { return hn::MulAdd(k, q, s); }
};

HWY_INLINE Floats leaky_relu(Floats x, Floats slope) { return hn::IfThenElse(hn::Gt(x, hn::Zero(F32())), x, slope * x); }

/// w_c·φ(q_c + k_c)
template <ScoreFunction::Kind kKind>
struct AdditiveStep {
  using Sum = Floats;
  const float* weight;  // times log₂e
  Floats w{}, slope;

  explicit AdditiveStep(const ScoreFunction& of) : weight(of.weight), slope(hn::Set(F32(), of.slope)) {}
  HWY_INLINE void enter(int64_t channel) { w = hn::Set(F32(), weight[channel]); }
  HWY_INLINE Floats operator()(Floats k, Floats q, Floats s) const {
    return hn::MulAdd(w, kKind == ScoreFunction::Kind::kTanh ? tanh_of(q + k) : leaky_relu(q + k, slope), s);
  }
};

// Calls f(step) with the step of the f32 score function.
template <class F>
HWY_INLINE void with_step(const ScoreFunction& function, F&& f) {
  if (HWY_LIKELY(function.is_dot())) return f(DotStep());
  if (function.kind == ScoreFunction::Kind::kTanh) return f(AdditiveStep<ScoreFunction::Kind::kTanh>(function));
  f(AdditiveStep<ScoreFunction::Kind::kLeakyRelu>(function));
}

/// q·k in bf16: here `channel` counts words of two bf16 channels. Scale and log₂e are applied after the chain (ScoreView::product_factor),
/// because multiplying q by them in bf16 would round it.
struct Bf16DotStep {
  using Sum = Floats;
  HWY_INLINE void enter(int64_t) {}
  HWY_INLINE Floats operator()(Floats k, Floats q, Floats s) const { return dot_bf16(k, q, s); }
};

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
