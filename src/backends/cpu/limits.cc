// Peak rates: long runs of independent multiply-adds and of plain reads, compiled once per instruction set.
#include "backends/cpu/limits.h"

#include <chrono>

#include "backends/cpu/dispatch.h"
#include "backends/cpu/simd/amx.h"
#include "backends/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/limits.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#if CLEARHEAD_TARGET_HAS_KERNELS
#include "backends/cpu/simd/bf16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// Enough independent chains to hide the latency of a multiply-add on two ports, few enough to fit in registers.
inline constexpr int kChains = kLanes == 16 ? 24 : 12;

float fma_chains(int64_t steps) {
  const F32 d;
  Floats sum[kChains];
  Floats x = hn::Iota(d, 1.0F), y = hn::Set(d, 0.5F);
  unroll<kChains>([&](auto i) CLEARHEAD_INLINE_LAMBDA { sum[i] = hn::Set(d, 1.0F + static_cast<float>(i)); });
  for (int64_t step = 0; step < steps; ++step) {
    unroll<kChains>([&](auto i) CLEARHEAD_INLINE_LAMBDA { sum[i] = hn::MulAdd(sum[i], y, x); });
  }
  unroll<kChains - 1>([&](auto i) CLEARHEAD_INLINE_LAMBDA { sum[0] = sum[0] + sum[i + 1]; });
  return hn::GetLane(sum[0]);
}

#if HWY_TARGET == HWY_AVX3
float bf16_dot_chains(int64_t steps) {
  const F32 d;
  Floats sum[kChains];
  // Words of two bf16: (1, 1) and (2⁻¹⁵, 2⁻¹⁵).
  const Floats ones = hn::BitCast(d, hn::Set(I32(), 0x3F803F80)), small = hn::BitCast(d, hn::Set(I32(), 0x38003800));
  unroll<kChains>([&](auto i) CLEARHEAD_INLINE_LAMBDA { sum[i] = hn::Set(d, 1.0F + static_cast<float>(i)); });
  for (int64_t step = 0; step < steps; ++step) {
    unroll<kChains>([&](auto i) CLEARHEAD_INLINE_LAMBDA { sum[i] = dot_bf16(ones, small, sum[i]); });
  }
  unroll<kChains - 1>([&](auto i) CLEARHEAD_INLINE_LAMBDA { sum[0] = sum[0] + sum[i + 1]; });
  return hn::GetLane(sum[0]);
}
#endif

float read_all(const float* data, int64_t bytes) {
  const F32 d;
  Floats sum[8];
  unroll<8>([&](auto i) CLEARHEAD_INLINE_LAMBDA { sum[i] = hn::Zero(d); });
  constexpr int64_t kAhead = 2048 / sizeof(float);
  for (const float* end = data + bytes / static_cast<int64_t>(sizeof(float)); data < end; data += 8 * kLanes) {
    for (int64_t line = 0; line < 8 * kLanes; line += 16) hwy::Prefetch(data + kAhead + line);
    unroll<8>([&](auto i) CLEARHEAD_INLINE_LAMBDA { sum[i] = sum[i] + hn::LoadU(d, data + i * kLanes); });
  }
  unroll<7>([&](auto i) CLEARHEAD_INLINE_LAMBDA { sum[0] = sum[0] + sum[i + 1]; });
  return hn::GetLane(sum[0]);
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace clearhead::cpu {

double fma_burst(InstructionSet isa, int64_t fmas, double* flops) {
  const bool wide = isa == InstructionSet::kAvx512;
  const int64_t lanes = wide ? 16 : 8, chains = wide ? 24 : 12, steps = fmas / (lanes * chains) + 1;
  const auto start = std::chrono::steady_clock::now();
  volatile float keep = wide ? N_AVX3::fma_chains(steps) : N_AVX2::fma_chains(steps);
  static_cast<void>(keep);
  *flops = 2.0 * static_cast<double>(steps * lanes * chains);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

namespace {

// Independent chains on the six AMX accumulator tiles (amx-inl.h). The time does not depend on the data, so the tiles may
// contain zeros.
void amx_chains(int64_t steps) {
  configure_amx(16);
  for (int64_t step = 0; step < steps; ++step) {
    asm volatile(
        "tdpbf16ps %tmm7, %tmm6, %tmm0\n\ttdpbf16ps %tmm7, %tmm6, %tmm1\n\ttdpbf16ps %tmm7, %tmm6, %tmm2\n\t"
        "tdpbf16ps %tmm7, %tmm6, %tmm3\n\ttdpbf16ps %tmm7, %tmm6, %tmm4\n\ttdpbf16ps %tmm7, %tmm6, %tmm5");
  }
  release_amx();
}

}  // namespace

double bf16_burst(double* flops) {
  *flops = 0;
  const Products products = bf16_products();
  if (products == Products::kF32) return 0;
  const auto start = std::chrono::steady_clock::now();
  if (products == Products::kAmx) {
    constexpr int64_t kSteps = 300, kOfStep = 6, kFlops = 2 * 16 * 16 * 32;
    amx_chains(kSteps);
    *flops = static_cast<double>(kSteps * kOfStep * kFlops);
  } else {
    constexpr int64_t kSteps = 5000, kOfStep = 16 * 24, kFlops = 4;  // lanes × chains; flops per lane
    volatile float keep = N_AVX3::bf16_dot_chains(kSteps);
    static_cast<void>(keep);
    *flops = static_cast<double>(kSteps * kOfStep * kFlops);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

float read_bytes(InstructionSet isa, const float* data, int64_t bytes) {
  return isa == InstructionSet::kAvx512 ? N_AVX3::read_all(data, bytes) : N_AVX2::read_all(data, bytes);
}

}  // namespace clearhead::cpu
#endif
