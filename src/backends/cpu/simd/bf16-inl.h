// Two bf16 in each 32-bit lane, a word: their dot products, and f32 rounded to them. Included once per target.
#if defined(CLEARHEAD_CPU_SIMD_BF16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_SIMD_BF16_INL_H_
#undef CLEARHEAD_CPU_SIMD_BF16_INL_H_
#else
#define CLEARHEAD_CPU_SIMD_BF16_INL_H_
#endif

#include "backends/cpu/simd/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

inline constexpr bool kHasBf16Dot = HWY_TARGET == HWY_AVX3;

// Assembly, because an intrinsic would have to be compiled for a target of its own, and with it every kernel around it: this way the pass of AVX3 holds both,
// and a test of the machine (`bf16_products`) chooses between them. Only that pass has these.

// s + a_even·b_even + a_odd·b_odd, one after the other (VDPBF16PS): products exact, sums rounded to nearest, subnormals taken and given as zero.
HWY_INLINE Floats dot_bf16(Floats a, Floats b, Floats s) {
#if HWY_TARGET == HWY_AVX3
  asm("vdpbf16ps %2, %1, %0" : "+v"(s.raw) : "v"(a.raw), "v"(b.raw));
#endif
  return s;
}

// bf16 of the lanes of `low`, then of those of `high`, to nearest even. NaN stays NaN.
HWY_INLINE Floats to_halves(Floats low, Floats high) {
#if HWY_TARGET == HWY_AVX3
  __m512i halves;
  asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(halves) : "v"(low.raw), "v"(high.raw));
  return Floats{_mm512_castsi512_ps(halves)};
#else
  return low + high;
#endif
}

// Of one row of halves, pairs of the n-th of the first sixteen and the n-th of the others.
HWY_INLINE Floats words_of_halves(Floats halves) {
#if HWY_TARGET == HWY_AVX3
  alignas(64) static constexpr uint16_t kOrder[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return Floats{_mm512_castsi512_ps(_mm512_permutexvar_epi16(_mm512_load_si512(kOrder), _mm512_castps_si512(halves.raw)))};
#else
  return halves;
#endif
}

// Lane i: bf16 of even[i] below that of odd[i].
HWY_INLINE Floats to_bf16_words(Floats even, Floats odd) { return words_of_halves(to_halves(even, odd)); }

// Of two rows of halves, pairs of neighbours in a column: those of the first sixteen columns, or of the others.
template <bool kUpper>
HWY_INLINE Floats words_of_rows(Floats even, Floats odd) {
#if HWY_TARGET == HWY_AVX3
  alignas(64) static constexpr uint16_t kOrder[2][32] = {
      {0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39, 8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47},
      {16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55, 24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63}};
  const __m512i order = _mm512_load_si512(kOrder[kUpper]);
  return Floats{_mm512_castsi512_ps(_mm512_permutex2var_epi16(_mm512_castps_si512(even.raw), order, _mm512_castps_si512(odd.raw)))};
#else
  return kUpper ? even : odd;
#endif
}

// V vectors of two rows in halves, even and odd; with kTurns also as pairs of a column, V vectors of them.
template <int V, bool kTurns>
HWY_INLINE void store_halves(const Floats (&rows)[2][V], float* to_even, float* to_odd, [[maybe_unused]] float* to_turned) {
  const F32 d;
  if constexpr (V > 1) {
    const Floats even = to_halves(rows[0][0], rows[0][1]), odd = to_halves(rows[1][0], rows[1][1]);
    hn::StoreU(even, d, to_even);
    hn::StoreU(odd, d, to_odd);
    if constexpr (kTurns) {
      hn::Store(words_of_rows<false>(even, odd), d, to_turned);
      hn::Store(words_of_rows<true>(even, odd), d, to_turned + kLanes);
    }
  }
  if constexpr (V != 2) {  // the last vector of both rows
    constexpr int kLast = V - 1;
    const Floats both = to_halves(rows[0][kLast], rows[1][kLast]);
    const hn::Half<F32> half;
    hn::StoreU(hn::LowerHalf(half, both), half, to_even + kLast * (kLanes / 2));
    hn::StoreU(hn::UpperHalf(half, both), half, to_odd + kLast * (kLanes / 2));
    if constexpr (kTurns) hn::Store(words_of_halves(both), d, to_turned + kLast * kLanes);
  }
}

// All bits of the halves that are not −0: those of pairs that are seen (mark_hidden).
HWY_INLINE Ints seen_halves(Floats weights) {
  const I32 d;
  const Ints bits = hn::BitCast(d, weights), low = hn::Set(d, 0xFFFF), high = hn::Set(d, -65536), none = hn::Zero(d);
  const auto even_hidden = hn::Eq(hn::And(bits, low), hn::Set(d, 0x8000)), odd_hidden = hn::Eq(hn::And(bits, high), hn::Set(d, INT32_MIN));
  return hn::Or(hn::IfThenElse(even_hidden, none, low), hn::IfThenElse(odd_hidden, none, high));
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
