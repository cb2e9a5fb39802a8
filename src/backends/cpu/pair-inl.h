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

// Two bf16 in each 32-bit lane.
inline constexpr bool kHasPairs = HWY_TARGET == HWY_AVX3;

// Assembly, because an intrinsic would have to be compiled for a target of its own, and with it every kernel around it: this way the pass of AVX3 holds both,
// and a test of the machine (`has_bf16_pairs`) chooses between them. Only that pass has these.

// s + a_even·b_even + a_odd·b_odd, one after the other (VDPBF16PS): products exact, sums rounded to nearest, subnormals taken and given as zero.
HWY_INLINE Floats dot_pairs(Floats a, Floats b, Floats s) {
#if HWY_TARGET == HWY_AVX3
  asm("vdpbf16ps %2, %1, %0" : "+v"(s.raw) : "v"(a.raw), "v"(b.raw));
#endif
  return s;
}

// Lane i: bf16 of even[i] below that of odd[i], to nearest even. NaN stays NaN.
HWY_INLINE Floats to_pairs(Floats even, Floats odd) {
#if HWY_TARGET == HWY_AVX3
  __m512i halves;  // 16 of even, then 16 of odd
  asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(halves) : "v"(even.raw), "v"(odd.raw));
  alignas(64) static constexpr uint16_t kOrder[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return Floats{_mm512_castsi512_ps(_mm512_permutexvar_epi16(_mm512_load_si512(kOrder), halves))};
#else
  return even + odd;
#endif
}

/// q·k of bf16, a channel being a pair of them. Scale and log₂e come after the chain (ScoreView::pair_factor): in bf16 they would round q.
struct PairStep {
  HWY_INLINE void enter(int64_t) {}
  HWY_INLINE Floats operator()(Floats k, Floats q, Floats s) const { return dot_pairs(k, q, s); }
};

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
