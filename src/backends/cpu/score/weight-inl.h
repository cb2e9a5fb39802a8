// Recomputes a weight from its score and the row statistics of the record, for every normaliser. Included once per
// target.
//
//   softmax      2^(c − m)·(1/ℓ)
//   sparsemax    max(0, (c − m)·ln 2 − t)       m: the row's largest score, so that no precision is lost at any size of
//                                               scores; t = τ − m·ln 2
//   entmax-1.5   max(0, (c − m)·ln 2/2 − t)²
//   sigmoid      1/(1 + 2^−(c − m))             m = −bias in base 2
//   hard         1 where the key is m; NaN where m is NaN
//   linear       c·(ln 2/ℓ); 0 where hidden
//   rounded      bf16(2^(c − m))·(1/Σ bf16(…))  softmax as a bf16 kernel used it. m is an integer, so the rounding does
//                                               not depend on the shift that the kernel had when it rounded
//
// c is the score in base 2. Forward, weights and sweep all use these functions, so the support (the keys with a weight
// above zero) is the same in all of them.
#if defined(CLEARHEAD_CPU_SCORE_WEIGHT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_SCORE_WEIGHT_INL_H_
#undef CLEARHEAD_CPU_SCORE_WEIGHT_INL_H_
#else
#define CLEARHEAD_CPU_SCORE_WEIGHT_INL_H_
#endif

#include <numbers>
#include <type_traits>

#include "backends/cpu/simd/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// log₂ of x > 0; −126 below 2⁻¹²⁶. Computed as the exponent plus 2·log₂e·atanh((f − 1)/(f + 1)), for the mantissa f in
// [1/√2, √2). Error 1e-7: absolute near 1, relative elsewhere.
HWY_INLINE Floats log2_of(Floats x) {
  const F32 d;
  const I32 di;
  x = hn::Max(hn::Set(d, 1.1754944e-38F), x);
  const Ints bits = hn::BitCast(di, x), root_half = hn::Set(di, 0x3f3504f3);
  const Ints exponent = hn::ShiftRight<23>(bits - root_half);
  const Floats f = hn::BitCast(d, bits - hn::ShiftLeft<23>(exponent)), one = hn::Set(d, 1.0F);
  const Floats z = (f - one) / (f + one), u = z * z;
  Floats p = hn::Set(d, 0.32058991F);  // 2·log₂e/(2n + 1)
  p = hn::MulAdd(p, u, hn::Set(d, 0.41219859F));
  p = hn::MulAdd(p, u, hn::Set(d, 0.57707801F));
  p = hn::MulAdd(p, u, hn::Set(d, 0.96179669F));
  p = hn::MulAdd(p, u, hn::Set(d, 2.8853901F));
  return hn::MulAdd(p, z, hn::ConvertTo(d, exponent));
}

inline constexpr float kLn2 = std::numbers::ln2_v<float>;

// Rounds to bf16, to nearest even. NaN stays NaN.
HWY_INLINE Floats nearest_bf16(Floats x) {
  const F32 d;
  const I32 di;
  const Ints bits = hn::BitCast(di, x), odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(di, 1));
  const Ints rounded = hn::And(bits + hn::Set(di, 0x7FFF) + odd, hn::Set(di, -65536));
  return hn::IfThenElse(hn::Eq(x, x), hn::BitCast(d, rounded), x);
}

inline constexpr bool has_threshold(WeightKind kind) { return kind == WeightKind::kSparsemax || kind == WeightKind::kEntmax15; }

// max(0, score − threshold), in natural units for sparsemax and half natural units for entmax-1.5. NaN stays NaN because
// of the order of the operands of Max.
template <WeightKind kKind>
HWY_INLINE Floats excess_of(Floats c, Floats m, Floats t) {
  const F32 d;
  return hn::Max(hn::Zero(d), hn::MulSub(c - m, hn::Set(d, kKind == WeightKind::kEntmax15 ? kLn2 / 2 : kLn2), t));
}

template <WeightKind kKind, class Key = int64_t>
HWY_INLINE Floats weight_of(Floats c, Floats m, Floats factor, [[maybe_unused]] Key key = 0) {
  static_assert(!has_threshold(kKind));
  if constexpr (kKind == WeightKind::kSoftmax) {
    return exp2_shifted(c, m) * factor;
  } else if constexpr (kKind == WeightKind::kRounded) {
    return nearest_bf16(exp2_shifted(c, m)) * factor;
  } else if constexpr (kKind == WeightKind::kSigmoid) {
    const F32 d;
    const Floats x = c - m, one = hn::Set(d, 1.0F);
    // Cannot overflow; NaN stays NaN.
    const Floats e = exp2_shifted(hn::Max(hn::Set(d, kNone), hn::Zero(d) - hn::Abs(x)), hn::Zero(d));
    return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one) / (one + e) * factor;
  } else if constexpr (kKind == WeightKind::kHard) {
    return hn::IfThenElse(hn::Eq(hn::ConvertTo(F32(), keys_of(key)), m), hn::Set(F32(), 1.0F), m - m) * factor;
  } else if constexpr (kKind == WeightKind::kLinear) {
    return hn::IfThenZeroElse(hn::Lt(c, hn::Set(F32(), kVisible)), c) * factor;
  }
}
// The same for every normaliser; `t` is used only by those with a threshold.
template <WeightKind kKind, class Key = int64_t>
HWY_INLINE Floats weight_beside(Floats c, Floats m, [[maybe_unused]] Floats t, Floats factor, [[maybe_unused]] Key key) {
  if constexpr (has_threshold(kKind)) {
    const Floats excess = excess_of<kKind>(c, m, t);
    return (kKind == WeightKind::kEntmax15 ? excess * excess : excess) * factor;
  } else {
    return weight_of<kKind>(c, m, factor, key);
  }
}

// Calls f with `kind` as an integral constant.
template <class F>
HWY_INLINE void with_kind(WeightKind kind, F&& f) {
  if (HWY_LIKELY(kind == WeightKind::kSoftmax)) return f(std::integral_constant<WeightKind, WeightKind::kSoftmax>{});
  if (kind == WeightKind::kSparsemax) return f(std::integral_constant<WeightKind, WeightKind::kSparsemax>{});
  if (kind == WeightKind::kEntmax15) return f(std::integral_constant<WeightKind, WeightKind::kEntmax15>{});
  if (kind == WeightKind::kSigmoid) return f(std::integral_constant<WeightKind, WeightKind::kSigmoid>{});
  if (kind == WeightKind::kLinear) return f(std::integral_constant<WeightKind, WeightKind::kLinear>{});
  f(std::integral_constant<WeightKind, WeightKind::kHard>{});
}
// The same for recomputed weights, where `kind` may also be kRounded.
template <class F>
HWY_INLINE void with_kind_of_look(WeightKind kind, F&& f) {
  if (HWY_UNLIKELY(kind == WeightKind::kRounded)) return f(std::integral_constant<WeightKind, WeightKind::kRounded>{});
  with_kind(kind, f);
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
