// Element-wise vector loops over arrays. Included once per target.
#if defined(CLEARHEAD_CPU_SIMD_ELEMENTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_SIMD_ELEMENTS_INL_H_
#undef CLEARHEAD_CPU_SIMD_ELEMENTS_INL_H_
#else
#define CLEARHEAD_CPU_SIMD_ELEMENTS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>

#include "backends/cpu/simd/activation-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {
#if CLEARHEAD_TARGET_HAS_KERNELS

// Calls f(load, store) for every vector of [0, count). load(p) reads the elements of array p at this vector,
// store(v, p) writes them. In the last, partial vector the lanes past the end read as `past` and are not written.
template <class F>
HWY_INLINE void for_each_vector(int64_t count, const F& f, float past = 0) {
  const F32 d;
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    f([&](const float* p) HWY_ATTR { return hn::LoadU(d, p + i); }, [&](Floats v, float* p) HWY_ATTR { hn::StoreU(v, d, p + i); });
  }
  const int64_t left = count - i;
  if (left == 0) return;
  const auto load = [&](const float* p) HWY_ATTR {
    HWY_ALIGN float part[kStep];
    std::fill(std::copy(p + i, p + count, part), part + kStep, past);
    return hn::Load(d, part);
  };
  const auto store = [&](Floats v, float* p) HWY_ATTR {
    HWY_ALIGN float part[kStep];
    hn::Store(v, d, part);
    std::copy(part, part + left, p + i);
  };
  f(load, store);
}

HWY_INLINE float total(Floats v) { return hn::GetLane(hn::SumOfLanes(F32(), v)); }

#endif  // CLEARHEAD_TARGET_HAS_KERNELS
}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
