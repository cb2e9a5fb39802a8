// Vector types and functions of the instruction set being compiled: 2^x, tanh, e^x, ln x, transposes. Included once per
// target.
//
//   2^c·2^−m with m an integer:  f = c − ⌊c⌋,  p(f)·2^(⌊c⌋ − m)
//
// p is a polynomial of degree 5 on [0, 1) with relative error 1.5e-7 in float. c is split before m is subtracted, so
// 2^(c − m) for two integers m differs by an exact power of two. A kernel can therefore move its shift m without
// changing the bits of a result (short of underflow).
#if defined(CLEARHEAD_CPU_SIMD_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_SIMD_SIMD_INL_H_
#undef CLEARHEAD_CPU_SIMD_SIMD_INL_H_
#else
#define CLEARHEAD_CPU_SIMD_SIMD_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstdint>
#include <numbers>
#include <utility>

#define CLEARHEAD_INLINE_LAMBDA __attribute__((always_inline))

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using I32 = hn::ScalableTag<int32_t>;
using Floats = hn::Vec<F32>;
using Ints = hn::Vec<I32>;
using Lanes = hn::Mask<F32>;

inline constexpr int kLanes = HWY_LANES(float);   // 16 with AVX-512, 8 with AVX2
inline constexpr int kVectors = 3;                // vectors of queries in a block
inline constexpr int kBlock = kVectors * kLanes;  // queries in a block: 48 with AVX-512, 24 with AVX2
inline constexpr int kRows =
    // Keys per group. kRows·kVectors accumulators, three vectors of queries and one broadcast key fill the registers.
    kLanes == 16 ? 8 : 4;
inline constexpr int kColumns = kRows;  // channels of the values per pass, for the same reason

// Calls f(std::integral_constant<int, 0>), …, f(std::integral_constant<int, N − 1>) without a loop, so that arrays
// indexed by the argument stay in registers.
template <int... I, class F>
HWY_INLINE void unroll_over(std::integer_sequence<int, I...>, F&& f) {
  (f(std::integral_constant<int, I>{}), ...);
}
template <int N, class F>
HWY_INLINE void unroll(F&& f) {
  unroll_over(std::make_integer_sequence<int, N>{}, f);
}

// Key indices as a vector: one key for all lanes, or one per lane.
HWY_INLINE Ints keys_of(int64_t key) { return hn::Set(I32(), static_cast<int32_t>(key)); }
HWY_INLINE Ints keys_of(Ints keys) { return keys; }

// Returns sum + x in the `chosen` lanes and sum in the others: a masked addition, or the cheapest equivalent in AVX2.
HWY_INLINE Floats add_where(Lanes chosen, Floats x, Floats sum) {
#if HWY_TARGET == HWY_AVX3
  return hn::IfThenElse(chosen, sum + x, sum);
#else
  return sum + hn::IfThenElseZero(chosen, x);
#endif
}

#if HWY_TARGET == HWY_AVX3
inline constexpr int kRoundDown = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
#endif

// p·2^n for integral n. With AVX-512 n may be fractional: p·2^⌊n⌋.
HWY_INLINE Floats scale_by_power(Floats p, Floats n) {
#if HWY_TARGET == HWY_AVX3
  return Floats{_mm512_scalef_ps(p.raw, n.raw)};
#else
  // Gives 0 below 2^−126. Callers keep n ≤ 127. n is integral and bounded, so the overflow check of Highway's conversion
  // is not needed.
  const Ints exponent = Ints{_mm256_cvttps_epi32(hn::Max(hn::Set(F32(), -127.0F), n).raw)} + hn::Set(I32(), 127);
  return p * hn::BitCast(F32(), hn::ShiftLeft<23>(exponent));
#endif
}

// c − ⌊c⌋. AVX-512 rounds down, because for c just below 0 the difference is not representable. kReduces uses VREDUCEPS,
// which does the same and saves two operations; it is fast on Intel processors (on Zen 5 it takes five cycles). Both
// give the same bits, except for −∞.
template <bool kReduces>
HWY_INLINE Floats fraction_of(Floats c) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (kReduces) return Floats{_mm512_reduce_ps(c.raw, kRoundDown)};
  return Floats{_mm512_sub_round_ps(c.raw, hn::Floor(c).raw, kRoundDown)};
#else
  return c - hn::Floor(c);
#endif
}

// p·2^(⌊c⌋ − m) for integral m.
HWY_INLINE Floats scale_by_whole_power(Floats p, Floats c, Floats m) {
#if HWY_TARGET == HWY_AVX3
  return Floats{// VSCALEFPS takes the floor of its exponent, and c − m is less than 1 above ⌊c⌋ − m
                _mm512_scalef_ps(p.raw, _mm512_sub_round_ps(c.raw, m.raw, kRoundDown))};
#else
  return scale_by_power(p, hn::Floor(c) - m);
#endif
}

// 2^(c − m) for integral m. kHidden gives 0, NaN gives NaN. −∞ gives 0 with AVX-512 (by VSCALEFPS, whatever the
// fraction) and NaN with AVX2.
template <bool kReduces = false>
HWY_INLINE Floats exp2_shifted(Floats c, Floats m) {
  const F32 d;
  const Floats f = fraction_of<kReduces>(c);
  Floats p = hn::Set(d, 1.877576695e-3F);
  p = hn::MulAdd(p, f, hn::Set(d, 8.989339694e-3F));
  p = hn::MulAdd(p, f, hn::Set(d, 5.582631752e-2F));
  p = hn::MulAdd(p, f, hn::Set(d, 2.401536107e-1F));
  p = hn::MulAdd(p, f, hn::Set(d, 6.931530833e-1F));
  p = hn::MulAdd(p, f, hn::Set(d, 9.999999404e-1F));
  return scale_by_whole_power(p, c, m);
}

// 2^x with relative error 8e-5, for weights that are rounded to bf16 next. NaN and −∞ as in exp2_shifted.
template <bool kReduces = false>
HWY_INLINE Floats exp2_coarse(Floats x) {
  const F32 d;
  const Floats f = fraction_of<kReduces>(x);
  Floats p = hn::Set(d, 7.802452147e-2F);
  p = hn::MulAdd(p, f, hn::Set(d, 2.260671556e-1F));
  p = hn::MulAdd(p, f, hn::Set(d, 6.958335638e-1F));
  p = hn::MulAdd(p, f, hn::Set(d, 9.999251962e-1F));
#if HWY_TARGET == HWY_AVX3
  return scale_by_power(p, x);
#else
  return scale_by_power(p, hn::Floor(x));
#endif
}

// tanh with relative error 3e-7: an odd rational function fitted on [0, 8.7], beyond which tanh is 1 in float. NaN stays
// NaN because of the order of the operands of Max and Min.
HWY_INLINE Floats tanh_of(Floats x) {
  const F32 d;
  x = hn::Min(hn::Set(d, 8.7F), hn::Max(hn::Set(d, -8.7F), x));
  const Floats u = x * x;
  Floats p = hn::Set(d, -9.318079759e-14F);
  p = hn::MulAdd(p, u, hn::Set(d, 5.588039281e-11F));
  p = hn::MulAdd(p, u, hn::Set(d, -2.084738590e-08F));
  p = hn::MulAdd(p, u, hn::Set(d, 1.130389609e-05F));
  p = hn::MulAdd(p, u, hn::Set(d, 3.118069876e-03F));
  p = hn::MulAdd(p, u, hn::Set(d, 1.309659725e-01F));
  p = hn::MulAdd(p, u, hn::Set(d, 9.999999954e-01F));
  Floats q = hn::Set(d, 2.566804294e-04F);
  q = hn::MulAdd(q, u, hn::Set(d, 2.455122841e-02F));
  q = hn::MulAdd(q, u, hn::Set(d, 4.642992616e-01F));
  q = hn::MulAdd(q, u, hn::Set(d, 1.0F));
  return x * p / q;
}

// s·tanh(x)/x for |x| < kTanhNear, without a division: an odd polynomial fitted on that range,
// relative error 1.1e-7. NaN stays NaN.
inline constexpr float kTanhNear = 0.75F;
HWY_INLINE Floats near_tanh(Floats s, Floats x) {
  const F32 d;
  const Floats u = x * x;
  Floats p = hn::Set(d, -4.769490100e-3F);
  p = hn::MulAdd(p, u, hn::Set(d, 1.966491342e-2F));
  p = hn::MulAdd(p, u, hn::Set(d, -5.339025706e-2F));
  p = hn::MulAdd(p, u, hn::Set(d, 1.332652122e-1F));
  p = hn::MulAdd(p, u, hn::Set(d, -3.333306909e-1F));
  return hn::MulAdd(p * u, s, s);
}
HWY_INLINE Lanes is_near(Floats x) { return hn::Lt(hn::Abs(x), hn::Set(F32(), kTanhNear)); }

// tanh for scores: near_tanh in lanes near 0, tanh_of in the others. Fast if all lanes are near 0.
HWY_INLINE Floats tanh_of_scores(Floats x) {
  const Lanes near = is_near(x);
  const Floats inner = near_tanh(x, x);
  return HWY_LIKELY(hn::AllTrue(F32(), near)) ? inner : hn::IfThenElse(near, inner, tanh_of(x));
}

// The larger magnitude of two lanes. If one is NaN, the result is the other or NaN.
HWY_INLINE Floats larger_magnitude(Floats a, Floats b) {
#if HWY_TARGET == HWY_AVX3
  return Floats{_mm512_range_ps(a.raw, b.raw, 0b1011)};
#else
  return hn::Max(hn::Abs(a), hn::Abs(b));
#endif
}

// The derivative of tanh at x, sech²: one exponential, accurate also where 1 − tanh² cancels. Large |x| gives 0.
HWY_INLINE Floats tanh_slope(Floats x) {
  const F32 d;
  const Floats one = hn::Set(d, 1.0F);
  const Floats t = exp2_shifted(hn::Max(hn::Set(d, -1e4F), hn::Abs(x) * hn::Set(d, -2.0F * std::numbers::log2e_v<float>)), hn::Zero(d));
  return hn::Set(d, 4.0F) * t / ((one + t) * (one + t));
}

// e^x with relative error 2e-7: e^r·2^n with n = ⌊x·log₂e + ½⌋ and r = x − n·ln 2, with ln 2 in two parts.
// Results below 2^−126 are 0. NaN stays NaN.
HWY_INLINE Floats exp_of(Floats x) {
  const F32 d;
  x = hn::Min(hn::Set(d, 89.0F), hn::Max(hn::Set(d, -104.0F), x));
  const Floats n = hn::Floor(hn::MulAdd(x, hn::Set(d, std::numbers::log2e_v<float>), hn::Set(d, 0.5F)));
  Floats r = hn::NegMulAdd(n, hn::Set(d, 0.693359375F), x);  // 355/512, so its product with n is exact
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4F), r);
  Floats p = hn::Set(d, 1.381446685e-3F);
  p = hn::MulAdd(p, r, hn::Set(d, 8.368780418e-3F));
  p = hn::MulAdd(p, r, hn::Set(d, 4.166839422e-2F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.666652011e-1F));
  p = hn::MulAdd(p, r, hn::Set(d, 4.999999341e-1F));
  p = hn::MulAdd(p, r * r, r) + hn::Set(d, 1.0F);
  const Floats half = hn::Floor(n * hn::Set(d, 0.5F));  // in two steps, because 2^128 is not representable
  return scale_by_power(scale_by_power(p, n - half), half);
}

// ln x with relative error 2e-7: x = 2^e·(1 + f) with 1 + f in [√½, √2). ln 0 = −∞, ln ∞ = ∞; a negative number or NaN
// gives NaN.
HWY_INLINE Floats log_of(Floats x) {
  const F32 d;
  const I32 di;
  const Floats infinity = hn::Set(d, __builtin_inff());
  const Lanes tiny = hn::Lt(x, hn::Set(d, 0x1p-126F));
  const Floats scaled = hn::IfThenElse(tiny, x * hn::Set(d, 0x1p23F), x);
  const Ints bits = hn::BitCast(di, scaled), e = hn::ShiftRight<23>(bits - hn::Set(di, 0x3f3504f3));
  const Floats f = hn::BitCast(d, bits - hn::ShiftLeft<23>(e)) - hn::Set(d, 1.0F);
  const Floats n = hn::ConvertTo(d, e) - hn::IfThenElseZero(tiny, hn::Set(d, 23.0F));
  Floats p = hn::Set(d, -7.634496527e-2F);
  p = hn::MulAdd(p, f, hn::Set(d, 1.276157704e-1F));
  p = hn::MulAdd(p, f, hn::Set(d, -1.316018240e-1F));
  p = hn::MulAdd(p, f, hn::Set(d, 1.420175800e-1F));
  p = hn::MulAdd(p, f, hn::Set(d, -1.662335734e-1F));
  p = hn::MulAdd(p, f, hn::Set(d, 2.000122688e-1F));
  p = hn::MulAdd(p, f, hn::Set(d, -2.500082103e-1F));
  p = hn::MulAdd(p, f, hn::Set(d, 3.333333171e-1F));
  const Floats square = f * f;
  Floats y = hn::MulAdd(n, hn::Set(d, -2.12194440e-4F), p * square * f);
  y = hn::NegMulAdd(square, hn::Set(d, 0.5F), y) + f;
  y = hn::MulAdd(n, hn::Set(d, 0.693359375F), y);
  y = hn::IfThenElse(hn::Eq(x, infinity), infinity, y);
  y = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Neg(infinity), y);
  return hn::IfThenElse(hn::Or(hn::Lt(x, hn::Zero(d)), hn::Not(hn::Eq(x, x))), hn::Set(d, __builtin_nanf("")), y);
}

// Transposes 4×4 within each 128-bit block: lane j of the i-th vector becomes lane i of the j-th.
HWY_INLINE void transpose_4x4_blocks(Floats& a, Floats& b, Floats& c, Floats& d4) {
  const hn::Repartition<double, F32> dd;
  const F32 d;
  const auto ab_low = hn::BitCast(dd, hn::InterleaveLower(d, a, b)), ab_high = hn::BitCast(dd, hn::InterleaveUpper(d, a, b));
  const auto cd_low = hn::BitCast(dd, hn::InterleaveLower(d, c, d4)), cd_high = hn::BitCast(dd, hn::InterleaveUpper(d, c, d4));
  a = hn::BitCast(d, hn::InterleaveLower(dd, ab_low, cd_low));
  b = hn::BitCast(d, hn::InterleaveUpper(dd, ab_low, cd_low));
  c = hn::BitCast(d, hn::InterleaveLower(dd, ab_high, cd_high));
  d4 = hn::BitCast(d, hn::InterleaveUpper(dd, ab_high, cd_high));
}

// Transposes kLanes vectors in registers.
HWY_INLINE void transpose(Floats (&x)[kLanes]) {
  unroll<kLanes / 4>([&](auto i) CLEARHEAD_INLINE_LAMBDA { transpose_4x4_blocks(x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]); });
  // Now block b of x[4·i + r] is row 4·b + r, columns 4·i to 4·i + 3.
  Floats y[kLanes];
#if HWY_TARGET == HWY_AVX3
  unroll<4>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
    const __m512 a = _mm512_shuffle_f32x4(x[r].raw, x[4 + r].raw, 0x44), b = _mm512_shuffle_f32x4(x[8 + r].raw, x[12 + r].raw, 0x44);
    const __m512 c = _mm512_shuffle_f32x4(x[r].raw, x[4 + r].raw, 0xEE), e = _mm512_shuffle_f32x4(x[8 + r].raw, x[12 + r].raw, 0xEE);
    y[r] = Floats{_mm512_shuffle_f32x4(a, b, 0x88)};
    y[4 + r] = Floats{_mm512_shuffle_f32x4(a, b, 0xDD)};
    y[8 + r] = Floats{_mm512_shuffle_f32x4(c, e, 0x88)};
    y[12 + r] = Floats{_mm512_shuffle_f32x4(c, e, 0xDD)};
  });
#else
  unroll<4>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
    y[r] = hn::ConcatLowerLower(F32(), x[4 + r], x[r]);
    y[4 + r] = hn::ConcatUpperUpper(F32(), x[4 + r], x[r]);
  });
#endif
  unroll<kLanes>([&](auto i) CLEARHEAD_INLINE_LAMBDA { x[i] = y[i]; });
}

// Sums each of kRows vectors over its lanes: lane r of the result is the sum of x[r]. Only the first kRows lanes of the
// result are meaningful. The order of additions is a fixed tree.
HWY_INLINE Floats sums_of_rows(Floats* x) {
  const F32 d;
  const hn::Repartition<double, F32> dd;
  constexpr int kHalf = kRows / 2;
  // Each half vector holds kLanes / 2 partial sums: pair[i] = [x_2i, x_2i+1].
  Floats pair[kHalf];
  unroll<kHalf>([&](auto i) CLEARHEAD_INLINE_LAMBDA {
    pair[i] = hn::ConcatLowerLower(d, x[2 * i + 1], x[2 * i]) + hn::ConcatUpperUpper(d, x[2 * i + 1], x[2 * i]);
  });
  Floats a = pair[0], b = pair[1];
#if HWY_TARGET == HWY_AVX3
  // Blocks of four lanes: a = [x0, x2, x1, x3], b = [x4, x6, x5, x7].
  const auto fold = [&](Floats low, Floats high) CLEARHEAD_INLINE_LAMBDA {
    return hn::OddEvenBlocks(high, low) + hn::SwapAdjacentBlocks(hn::OddEvenBlocks(low, high));
  };
  a = fold(pair[0], pair[1]);
  b = fold(pair[2], pair[3]);
  alignas(64) static constexpr int32_t kOrder[16] = {0, 8, 4, 12, 2, 10, 6, 14, 0, 0, 0, 0, 0, 0, 0, 0};
#else
  alignas(64) static constexpr int32_t kOrder[8] = {0, 4, 2, 6, 0, 0, 0, 0};
#endif
  const auto low = hn::InterleaveLower(dd, hn::BitCast(dd, a), hn::BitCast(dd, b));
  const auto high = hn::InterleaveUpper(dd, hn::BitCast(dd, a), hn::BitCast(dd, b));
  Floats quads = hn::BitCast(d, low) + hn::BitCast(d, high);
  quads = quads + hn::Shuffle2301(quads);
  return hn::TableLookupLanes(quads, hn::SetTableIndices(d, kOrder));
}

// Loads one vector from kLanes / 4 groups of four floats, at rows[r], rows[r + 4], rows[r + 8], …, each plus `offset`.
HWY_INLINE Floats load_quarters(const float* const* rows, int r, int64_t offset) {
  const hn::FixedTag<float, 4> quarter;
#if HWY_TARGET == HWY_AVX3
  const hn::FixedTag<float, 8> half;
  const auto low = hn::Combine(half, hn::LoadU(quarter, rows[r + 4] + offset), hn::LoadU(quarter, rows[r] + offset));
  const auto high = hn::Combine(half, hn::LoadU(quarter, rows[r + 12] + offset), hn::LoadU(quarter, rows[r + 8] + offset));
  return hn::Combine(F32(), high, low);
#else
  return hn::Combine(F32(), hn::LoadU(quarter, rows[r + 4] + offset), hn::LoadU(quarter, rows[r] + offset));
#endif
}

// The inverse: stores four floats each to rows[r], rows[r + 4], …, plus `offset`.
HWY_INLINE void store_quarters(Floats x, float* const* rows, int r, int64_t offset) {
  const hn::FixedTag<float, 4> quarter;
#if HWY_TARGET == HWY_AVX3
  const hn::FixedTag<float, 8> half;
  const auto low = hn::LowerHalf(half, x), high = hn::UpperHalf(half, x);
  hn::StoreU(hn::LowerHalf(quarter, high), quarter, rows[r + 8] + offset);
  hn::StoreU(hn::UpperHalf(quarter, high), quarter, rows[r + 12] + offset);
#else
  const auto low = x;
#endif
  hn::StoreU(hn::LowerHalf(quarter, low), quarter, rows[r] + offset);
  hn::StoreU(hn::UpperHalf(quarter, low), quarter, rows[r + 4] + offset);
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
