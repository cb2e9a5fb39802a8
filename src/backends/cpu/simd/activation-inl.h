// Activation functions and their derivatives, for vectors of f32. Included once per target.
//
//   gelu:  x/2·(1 + erf(x/√2)),  erf by Abramowitz & Stegun 7.1.26 (absolute error 1.5e-7)
#if defined(CLEARHEAD_CPU_SIMD_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_SIMD_ACTIVATION_INL_H_
#undef CLEARHEAD_CPU_SIMD_ACTIVATION_INL_H_
#else
#define CLEARHEAD_CPU_SIMD_ACTIVATION_INL_H_
#endif

#include <hwy/highway.h>

#include <numbers>

#include "backends/dense.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {
#if CLEARHEAD_TARGET_HAS_KERNELS

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::ScalableTag<float>;
using Floats = hn::Vec<F32>;
constexpr int64_t kStep = HWY_LANES(float);

// e^x with relative error 2e-7·max(1, |x|): 2^c, split into integral and fractional part. c is x·log₂e, clamped to [−126, 127],
// so the result is never 0 or infinite. NaN stays NaN because of the order of the operands of Max and Min.
HWY_INLINE Floats exponential(Floats x) {
  const F32 d;
  const Floats c = hn::Min(hn::Set(d, 127.0F), hn::Max(hn::Set(d, -126.0F), x * hn::Set(d, std::numbers::log2e_v<float>)));
  const Floats whole = hn::Floor(c), f = c - whole;
  Floats p = hn::Set(d, 1.877576695e-3F);
  p = hn::MulAdd(p, f, hn::Set(d, 8.989339694e-3F));
  p = hn::MulAdd(p, f, hn::Set(d, 5.582631752e-2F));
  p = hn::MulAdd(p, f, hn::Set(d, 2.401536107e-1F));
  p = hn::MulAdd(p, f, hn::Set(d, 6.931530833e-1F));
  p = hn::MulAdd(p, f, hn::Set(d, 9.999999404e-1F));
  const hn::RebindToSigned<F32> di;
  return p * hn::BitCast(d, hn::ShiftLeft<23>(hn::ConvertTo(di, whole) + hn::Set(di, 127)));
}

HWY_INLINE Floats error_function(Floats x) {
  const F32 d;
  const Floats size = hn::Abs(x);
  const Floats t = hn::Set(d, 1.0F) / hn::MulAdd(hn::Set(d, 0.3275911F), size, hn::Set(d, 1.0F));
  Floats p = hn::Set(d, 1.061405429F);
  p = hn::MulAdd(p, t, hn::Set(d, -1.453152027F));
  p = hn::MulAdd(p, t, hn::Set(d, 1.421413741F));
  p = hn::MulAdd(p, t, hn::Set(d, -0.284496736F));
  p = hn::MulAdd(p, t, hn::Set(d, 0.254829592F));
  const Floats result = hn::NegMulAdd(p * t, exponential(hn::Neg(size * size)), hn::Set(d, 1.0F));
  return hn::CopySign(result, x);
}

// 1/(1 + e^−x).
HWY_INLINE Floats logistic(Floats x) {
  const F32 d;
  return hn::Set(d, 1.0F) / (hn::Set(d, 1.0F) + exponential(hn::Neg(x)));
}

// tanh x = 2·logistic(2x) − 1, absolute error 2e-7.
HWY_INLINE Floats hyperbolic_tangent(Floats x) {
  const F32 d;
  return hn::MulSub(hn::Set(d, 2.0F), logistic(x + x), hn::Set(d, 1.0F));
}

HWY_INLINE Floats activated(Activation activation, Floats x) {
  const F32 d;
  const Floats half = hn::Set(d, 0.5F) * x;
  switch (activation) {
    case Activation::kNone: return x;
    case Activation::kGeluErf: return hn::MulAdd(half, error_function(x * hn::Set(d, 0.7071067812F)), half);
    case Activation::kGeluTanh: {
      const Floats inner = hn::Set(d, 0.7978845608F) * hn::MulAdd(hn::Set(d, 0.044715F) * x * x, x, x);
      return x * logistic(inner + inner);
    }
    case Activation::kRelu: return hn::IfThenZeroElse(x < hn::Zero(d), x);
    case Activation::kSilu: return x * logistic(x);
    case Activation::kTanh: return hyperbolic_tangent(x);
    case Activation::kSigmoid: return logistic(x);
  }
  return x;
}

// f'(x).
HWY_INLINE Floats slope_of(Activation activation, Floats x) {
  const F32 d;
  const Floats one = hn::Set(d, 1.0F), half = hn::Set(d, 0.5F);
  switch (activation) {
    case Activation::kNone: return one;
    case Activation::kGeluErf: {
      const Floats density = hn::Set(d, 0.3989422804F) * exponential(hn::Neg(half * x * x));
      return hn::MulAdd(x, density, hn::MulAdd(half, error_function(x * hn::Set(d, 0.7071067812F)), half));
    }
    case Activation::kGeluTanh: {
      const Floats square = x * x, root = hn::Set(d, 0.7978845608F);
      const Floats inner = root * hn::MulAdd(hn::Set(d, 0.044715F) * square, x, x);
      const Floats s = logistic(inner + inner), slope = root * hn::MulAdd(hn::Set(d, 0.134145F), square, one);
      return hn::MulAdd(x * s * (one - s), slope + slope, s);
    }
    case Activation::kRelu: return hn::IfThenElseZero(x > hn::Zero(d), one);
    case Activation::kSilu: {
      const Floats s = logistic(x);
      return hn::MulAdd(x * s, one - s, s);
    }
    case Activation::kTanh: {
      const Floats t = hyperbolic_tangent(x);
      return hn::NegMulAdd(t, t, one);
    }
    case Activation::kSigmoid: {
      const Floats s = logistic(x);
      return s * (one - s);
    }
  }
  return one;
}

#endif  // CLEARHEAD_TARGET_HAS_KERNELS
}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
