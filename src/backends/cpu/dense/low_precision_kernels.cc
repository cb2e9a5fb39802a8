// Products of rows and panels of bf16 and int8 weights with vectors, compiled once per instruction set.
//
// A 32-bit lane holds two bf16: the even weight is the lane shifted left by 16 bits, the odd weight is the lane with its
// low half cleared. For rows, x is arranged as one vector of even elements followed by one of odd elements, so no shuffles
// are needed. In a panel, outputs lie along lanes, and inputs are broadcast. int8 is widened to 32 bits and converted.
// Eight chains hide the latency of an FMA.
#include "backends/cpu/dense/low_precision.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "backends/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/dense/low_precision_kernels.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {
#if CLEARHEAD_TARGET_HAS_KERNELS

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::ScalableTag<float>;
using U32 = hn::ScalableTag<uint32_t>;
using Floats = hn::Vec<F32>;
constexpr int64_t kStep = HWY_LANES(float);
constexpr int kChains = 8;
constexpr int64_t kAhead = 8192;  // prefetch distance in bytes

struct Pair {
  Floats even, odd;
};

// Loads 2·kStep bf16 weights.
HWY_INLINE Pair load_bf16(const uint8_t* from) {
  const U32 d;
  const F32 df;
  const auto both = hn::LoadU(d, reinterpret_cast<const uint32_t*>(from));
  return {hn::BitCast(df, hn::ShiftLeft<16>(both)), hn::BitCast(df, hn::And(both, hn::Set(d, 0xFFFF0000U)))};
}

// Loads kStep int8 weights.
HWY_INLINE Floats load_int8(const uint8_t* from) {
  const F32 d;
  const hn::RebindToSigned<F32> di;
  const hn::Rebind<int8_t, F32> d8;
  return hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, reinterpret_cast<const int8_t*>(from))));
}

HWY_INLINE float total_of(const Floats* sums) {
  const F32 d;
  const Floats a = (sums[0] + sums[1]) + (sums[2] + sums[3]), b = (sums[4] + sums[5]) + (sums[6] + sums[7]);
  return hn::GetLane(hn::SumOfLanes(d, a + b));
}

HWY_INLINE float bf16_sum(const uint8_t* HWY_RESTRICT w, const float* HWY_RESTRICT x, int64_t padded_in) {
  const F32 d;
  Floats sums[kChains];
  for (Floats& sum : sums) sum = hn::Zero(d);
  for (int64_t i = 0; i < padded_in; i += kChains * kStep) {
    for (int64_t line = 0; line < 2 * kChains * kStep; line += 64) hwy::Prefetch(w + 2 * i + kAhead + line);
    for (int pair = 0; pair < kChains / 2; ++pair) {
      const int64_t at = i + pair * 2 * kStep;
      const Pair both = load_bf16(w + 2 * at);
      sums[2 * pair] = hn::MulAdd(both.even, hn::LoadU(d, x + at), sums[2 * pair]);
      sums[2 * pair + 1] = hn::MulAdd(both.odd, hn::LoadU(d, x + at + kStep), sums[2 * pair + 1]);
    }
  }
  return total_of(sums);
}

HWY_INLINE float int8_sum(const uint8_t* HWY_RESTRICT w, const float* HWY_RESTRICT x, int64_t padded_in) {
  const F32 d;
  Floats sums[kChains];
  for (Floats& sum : sums) sum = hn::Zero(d);
  for (int64_t i = 0; i < padded_in; i += kChains * kStep) {
    for (int64_t line = 0; line < kChains * kStep; line += 64) hwy::Prefetch(w + i + kAhead + line);
    for (int chain = 0; chain < kChains; ++chain) {
      const int64_t at = i + chain * kStep;
      sums[chain] = hn::MulAdd(load_int8(w + at), hn::LoadU(d, x + at), sums[chain]);
    }
  }
  return total_of(sums);
}

void widen(const LowPrecisionRows& p, int64_t output, float* to) {
  const F32 d;
  if (p.storage == WeightStorage::kInt8) {
    const uint8_t* w = p.weights + output * p.padded_in;
    const Floats scale = hn::Set(d, p.scales[output]);
    for (int64_t i = 0; i < p.padded_in; i += kStep) hn::StoreU(load_int8(w + i) * scale, d, to + i);
    return;
  }
  const uint8_t* w = p.weights + output * p.padded_in * 2;
  for (int64_t i = 0; i < p.padded_in; i += 2 * kStep) {
    const Pair both = load_bf16(w + 2 * i);
    hn::StoreInterleaved2(both.even, both.odd, d, to + i);
  }
}

// The dot product of one row of f32 weights (in cache) and one row of x.
HWY_INLINE float wide_sum(const float* HWY_RESTRICT w, const float* HWY_RESTRICT x, int64_t padded_in) {
  const F32 d;
  Floats sums[kChains];
  for (Floats& sum : sums) sum = hn::Zero(d);
  for (int64_t i = 0; i < padded_in; i += kChains * kStep) {
    for (int chain = 0; chain < kChains; ++chain) {
      const int64_t at = i + chain * kStep;
      sums[chain] = hn::MulAdd(hn::LoadU(d, w + at), hn::LoadU(d, x + at), sums[chain]);
    }
  }
  return total_of(sums);
}

void sums(const LowPrecisionRows& p, int64_t begin, int64_t end, float* out, int64_t stride) {
  if (p.rows == 1) {
    for (int64_t o = begin; o < end; ++o) {
      out[o - begin] = p.storage == WeightStorage::kInt8 ? int8_sum(p.weights + o * p.padded_in, p.x, p.padded_in) * p.scales[o]
                                                         : bf16_sum(p.weights + o * p.padded_in * 2, p.x, p.padded_in);
    }
    return;
  }
  std::vector<float> wide(static_cast<size_t>(p.padded_in));
  for (int64_t o = begin; o < end; ++o) {
    widen(p, o, wide.data());
    for (int64_t row = 0; row < p.rows; ++row)
      out[row * stride + (o - begin)] = wide_sum(wide.data(), p.x + row * p.padded_in, p.padded_in);
  }
}

// Computes kOutputs vectors of a panel's outputs for kRows rows of x. With a single row, the odd inputs have separate
// chains; otherwise each FMA would wait for the previous one.
template <int kRows, int kOutputs>
HWY_INLINE void panel_part(const LowPrecisionPanel& p, int64_t first, const float* HWY_RESTRICT x, int64_t x_stride, float* sums) {
  const F32 d;
  constexpr int kOdd = kRows == 1 ? kOutputs : 0;
  Floats sum[kRows * kOutputs + kOdd];
  for (Floats& one : sum) one = hn::Zero(d);
  const uint8_t* weights = p.weights + 4 * first;
#pragma GCC unroll 2
  for (int64_t pair = 0; pair < p.pairs; ++pair, weights += 4 * p.width) {
    for (int line = 0; line < kOutputs * static_cast<int>(kStep) * 4; line += 64) hwy::Prefetch(weights + kAhead + line);
    Pair both[kOutputs];
    for (int v = 0; v < kOutputs; ++v) both[v] = load_bf16(weights + 4 * v * kStep);
    for (int row = 0; row < kRows; ++row) {
      const Floats even = hn::Set(d, x[row * x_stride + 2 * pair]), odd = hn::Set(d, x[row * x_stride + 2 * pair + 1]);
      for (int v = 0; v < kOutputs; ++v) {
        Floats &of_even = sum[row * kOutputs + v], &of_odd = sum[row * kOutputs + v + kOdd];
        of_even = hn::MulAdd(both[v].even, even, of_even);
        of_odd = hn::MulAdd(both[v].odd, odd, of_odd);
      }
    }
  }
  for (int v = 0; v < kOdd; ++v) sum[v] += sum[v + kOdd];
  for (int row = 0; row < kRows; ++row) {
    for (int v = 0; v < kOutputs; ++v) hn::StoreU(sum[row * kOutputs + v], d, sums + row * p.width + first + v * kStep);
  }
}

// For one row of x, the panel is read once, as one stream. For more rows, it is read once per set of rows and outputs
// whose sums fit in registers.
template <int kRows>
HWY_INLINE void panel_rows(const LowPrecisionPanel& p, const float* x, int64_t x_stride, float* sums) {
  constexpr int kMost = kRows == 1 ? 64 / static_cast<int>(kStep) : 2;
  int64_t first = 0;
  for (; first + kMost * kStep <= p.width; first += kMost * kStep) panel_part<kRows, kMost>(p, first, x, x_stride, sums);
  for (; first < p.width; first += kStep) panel_part<kRows, 1>(p, first, x, x_stride, sums);
}

void panel_sums(const LowPrecisionPanel& p, const float* x, int64_t x_stride, int64_t rows, float* sums) {
  int64_t row = 0;
  const auto of_rows = [&](auto count) {
    for (; row + count <= rows; row += count) panel_rows<count>(p, x + row * x_stride, x_stride, sums + row * p.width);
  };
  of_rows(std::integral_constant<int, 8>{});
  of_rows(std::integral_constant<int, 4>{});
  of_rows(std::integral_constant<int, 2>{});
  of_rows(std::integral_constant<int, 1>{});
}

void widen_panel(const LowPrecisionPanel& p, float* to) {
  const F32 d;
  for (int64_t pair = 0; pair < p.pairs; ++pair) {
    for (int64_t o = 0; o < p.width; o += kStep) {
      const Pair both = load_bf16(p.weights + 4 * (pair * p.width + o));
      hn::StoreU(both.even, d, to + 2 * pair * p.width + o);
      hn::StoreU(both.odd, d, to + (2 * pair + 1) * p.width + o);
    }
  }
}

void arrange(WeightStorage storage, const float* x, int64_t in, int64_t padded_in, float* to) {
  if (storage == WeightStorage::kInt8) {
    std::copy(x, x + in, to);
    std::fill(to + in, to + padded_in, 0.0F);
    return;
  }
  const F32 d;
  for (int64_t i = 0; i < padded_in; i += 2 * kStep) {
    alignas(64) float padded[2 * kStep] = {};
    const float* from = x + i;
    if (i + 2 * kStep > in) {
      std::copy(x + std::min(i, in), x + in, padded);
      from = padded;
    }
    Floats even, odd;
    hn::LoadInterleaved2(d, from, even, odd);
    hn::StoreU(even, d, to + i);
    hn::StoreU(odd, d, to + i + kStep);
  }
}

const LowPrecisionKernels* low_precision_table() {
  static const LowPrecisionKernels table = {arrange, sums, widen, panel_sums, widen_panel};
  return &table;
}

#endif  // CLEARHEAD_TARGET_HAS_KERNELS
}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace clearhead::cpu {

const LowPrecisionKernels& low_precision_kernels(InstructionSet isa) {
  return isa == InstructionSet::kAvx512 ? *N_AVX3::low_precision_table() : *N_AVX2::low_precision_table();
}

}  // namespace clearhead::cpu
#endif
