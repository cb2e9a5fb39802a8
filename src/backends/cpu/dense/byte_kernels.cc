// Kernels that round input rows to bytes and convert integer sums to f32, compiled once per instruction set.
#include <algorithm>
#include <bit>
#include <limits>

#include "backends/cpu/dense/bytes.h"
#include "backends/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/dense/byte_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {
#if CLEARHEAD_TARGET_HAS_KERNELS

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::ScalableTag<float>;
using I32 = hn::ScalableTag<int32_t>;
using U8 = hn::Rebind<uint8_t, F32>;
using Floats = hn::Vec<F32>;
constexpr int64_t kStep = HWY_LANES(float);

// Loads the first `count` lanes; the others are zero.
template <class D>
HWY_INLINE auto load_some(D d, const hn::TFromD<D>* from, int64_t count) {
  return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(count)), d, from);
}

struct RowScale {
  float scale, inverse;  // s_r and 1/s_r
};

// Compares magnitudes by their bits: read as integers, these have the same order, and infinity and NaN are the largest.
RowScale scale_of(const float* x, int64_t in) {
  const F32 d;
  const I32 di;
  constexpr int32_t kInfinity = 0x7F800000;
  auto largest = hn::Zero(di), other = largest;
  int64_t i = 0;
  for (; i + 2 * kStep <= in; i += 2 * kStep) {
    largest = hn::Max(largest, hn::BitCast(di, hn::Abs(hn::LoadU(d, x + i))));
    other = hn::Max(other, hn::BitCast(di, hn::Abs(hn::LoadU(d, x + i + kStep))));
  }
  for (; i < in; i += kStep) {
    largest = hn::Max(largest, hn::BitCast(di, hn::Abs(load_some(d, x + i, std::min(kStep, in - i)))));
  }
  const int32_t bits = hn::GetLane(hn::MaxOfLanes(di, hn::Max(largest, other)));
  if (bits >= kInfinity) return {std::numeric_limits<float>::quiet_NaN(), 0};
  const float magnitude = std::bit_cast<float>(bits);
  if (magnitude < 0x1p-100F) return {0, 0};  // 127 / magnitude may not be finite
  return {magnitude / 127, 127 / magnitude};
}

float round(const float* x, int64_t in, uint8_t* to) {
  const F32 d;
  const I32 di;
  const U8 d8;
  const RowScale scale = scale_of(x, in);
  if (!(scale.scale > 0)) {  // a scale of 0 or NaN determines every output, so the bytes do not matter
    std::fill_n(to, in, uint8_t{128});
    return scale.scale;
  }
  const Floats inverse = hn::Set(d, scale.inverse);
  const auto middle = hn::Set(di, 128);
  const auto rounded = [&](const Floats& some) { return hn::DemoteTo(d8, hn::NearestInt(some * inverse) + middle); };
  int64_t i = 0;
  for (; i + kStep <= in; i += kStep) hn::StoreU(rounded(hn::LoadU(d, x + i)), d8, to + i);
  if (i < in) {
    HWY_ALIGN uint8_t rest[kStep];
    hn::StoreU(rounded(load_some(d, x + i, in - i)), d8, rest);
    std::copy_n(rest, in - i, to + i);
  }
  return scale.scale;
}

void round_wide(const float* x, int64_t in, float* to) {
  const F32 d;
  const RowScale scale = scale_of(x, in);
  const Floats own = hn::Set(d, scale.scale), inverse = hn::Set(d, scale.inverse);
  const auto rounded = [&](const Floats& some) { return hn::ConvertTo(d, hn::NearestInt(some * inverse)) * own; };
  int64_t i = 0;
  for (; i + kStep <= in; i += kStep) hn::StoreU(rounded(hn::LoadU(d, x + i)), d, to + i);
  if (i < in) hn::BlendedStore(rounded(load_some(d, x + i, in - i)), hn::FirstN(d, static_cast<size_t>(in - i)), d, to + i);
}

void scale(const int32_t* sums, int64_t count, const ByteScales& scales, bool accumulate, float* out) {
  const F32 d;
  const I32 di;
  const Floats row = hn::Set(d, scales.row);
  const auto scaled = [&](hn::Vec<I32> exact, hn::Vec<I32> offsets, Floats outputs) {
    return hn::ConvertTo(d, exact - offsets) * (row * outputs);
  };
  int64_t o = 0;
  for (; o + kStep <= count; o += kStep) {
    Floats value = scaled(hn::LoadU(di, sums + o), hn::LoadU(di, scales.offsets + o), hn::LoadU(d, scales.outputs + o));
    if (scales.bias) value += hn::LoadU(d, scales.bias + o);
    if (accumulate) value += hn::LoadU(d, out + o);
    hn::StoreU(value, d, out + o);
  }
  if (o == count) return;
  const int64_t rest = count - o;
  Floats value = scaled(load_some(di, sums + o, rest), load_some(di, scales.offsets + o, rest), load_some(d, scales.outputs + o, rest));
  if (scales.bias) value += load_some(d, scales.bias + o, rest);
  if (accumulate) value += load_some(d, out + o, rest);
  hn::BlendedStore(value, hn::FirstN(d, static_cast<size_t>(rest)), d, out + o);
}

const ByteKernels* byte_table() {
  static const ByteKernels table = {round, round_wide, scale};
  return &table;
}

#endif  // CLEARHEAD_TARGET_HAS_KERNELS
}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace clearhead::cpu {

const ByteKernels& byte_kernels(InstructionSet isa) {
  return isa == InstructionSet::kAvx512 ? *N_AVX3::byte_table() : *N_AVX2::byte_table();
}

}  // namespace clearhead::cpu
#endif
