// Words, that is, 32-bit lanes that hold two bf16 each: dot products of words, and rounding f32 to them. Included once
// per target.
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

// The bf16 instructions below are inline assembly, not intrinsics: an intrinsic needs its own compilation target, so every kernel
// around it would be compiled once more. With inline assembly the AVX-512 pass contains both the f32 and the bf16
// kernels, and bf16_products() chooses at run time. Only that pass has these instructions.

// s + a_odd·b_odd + a_even·b_even, in that order (VDPBF16PS). Products are exact, sums are rounded to nearest, and
// subnormal inputs and results are treated as zero.
HWY_INLINE Floats dot_bf16(Floats a, Floats b, Floats s) {
#if HWY_TARGET == HWY_AVX3
  asm("vdpbf16ps %2, %1, %0" : "+v"(s.raw) : "v"(a.raw), "v"(b.raw));
#endif
  return s;
}

// Rounds to bf16, to nearest even: the lanes of `low`, then those of `high`, as one vector of 16-bit halves. NaN stays
// NaN.
HWY_INLINE Floats to_halves(Floats low, Floats high) {
#if HWY_TARGET == HWY_AVX3
  __m512i halves;
  asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(halves) : "v"(low.raw), "v"(high.raw));
  return Floats{_mm512_castsi512_ps(halves)};
#else
  return low + high;
#endif
}

// Rearranges one row of 32 halves into words: word n holds half n (low) and half 16 + n (high).
HWY_INLINE Floats words_of_halves(Floats halves) {
#if HWY_TARGET == HWY_AVX3
  alignas(64) static constexpr uint16_t kOrder[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return Floats{_mm512_castsi512_ps(_mm512_permutexvar_epi16(_mm512_load_si512(kOrder), _mm512_castps_si512(halves.raw)))};
#else
  return halves;
#endif
}

// Word i: bf16 of even[i] in the low half, of odd[i] in the high half.
HWY_INLINE Floats to_bf16_words(Floats even, Floats odd) { return words_of_halves(to_halves(even, odd)); }

// Interleaves two rows of 32 halves: each word holds the two halves of one column, `even` in the low half. Returns
// columns 0 to 15, or 16 to 31 with kUpper.
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

// Rounds two rows of V f32 vectors and stores each as a row of halves. With kTurns, also stores them interleaved: V
// vectors of words, one word per column.
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

// Returns a mask whose bits are set in the halves that are not −0, that is, in the weights of visible (query, key) pairs
// (see mark_hidden).
HWY_INLINE Ints seen_halves(Floats weights) {
  const I32 d;
  const Ints bits = hn::BitCast(d, weights), low = hn::Set(d, 0xFFFF), high = hn::Set(d, -65536), none = hn::Zero(d);
  const auto even_hidden = hn::Eq(hn::And(bits, low), hn::Set(d, 0x8000)), odd_hidden = hn::Eq(hn::And(bits, high), hn::Set(d, INT32_MIN));
  return hn::Or(hn::IfThenElse(even_hidden, none, low), hn::IfThenElse(odd_hidden, none, high));
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
