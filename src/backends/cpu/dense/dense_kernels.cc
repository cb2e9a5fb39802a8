// Matrix-vector products, norms, gated units and activations.
//
// In decoding, the matrix-vector product reads every weight once, so it is bound by memory. Each thread reads one panel
// (or row) at a time as one stream, its cache lines in order, prefetching 4 KB ahead. With several streams per thread,
// 15 % of the bandwidth is lost (docs/measurements/tried.md). There are enough accumulators to hide the latency of an FMA.
#include "backends/cpu/dense/dense_kernels.h"

#include <algorithm>
#include <cmath>

#include "backends/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/dense/dense_kernels.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/simd/activation-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {
#if CLEARHEAD_TARGET_HAS_KERNELS

constexpr int64_t kWidestPanel = 64;
constexpr int64_t kAhead = 4096 / sizeof(float);

void activate(Activation activation, float* x, int64_t count) {
  const F32 d;
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) hn::StoreU(activated(activation, hn::LoadU(d, x + i)), d, x + i);
  if (i == count) return;
  HWY_ALIGN float tail[kStep] = {};
  std::copy(x + i, x + count, tail);
  hn::Store(activated(activation, hn::Load(d, tail)), d, tail);
  std::copy(tail, tail + (count - i), x + i);
}

// Computes outputs [first, first + width) of the product from sums [0, width).
HWY_INLINE void finish(const Product& p, int64_t first, int64_t width, float* sums) {
  if (p.bias) {
    for (int64_t c = 0; c < width; ++c) sums[c] += p.bias[first + c];
  }
  if (p.activation != Activation::kNone) activate(p.activation, sums, width);
  float* out = p.out + first;
  for (int64_t c = 0; c < width; ++c) out[c] = p.accumulate ? out[c] + sums[c] : sums[c];
}

// One panel [padded_in][kVectors vectors] times x, with two chains per vector.
template <int kVectors>
HWY_INLINE void panel_sums(const float* HWY_RESTRICT w, const float* HWY_RESTRICT x, int64_t in, float* HWY_RESTRICT sums) {
  const F32 d;
  constexpr int64_t kWidth = kVectors * kStep;
  Floats even[kVectors], odd[kVectors];
  for (int v = 0; v < kVectors; ++v) even[v] = odd[v] = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 <= in; i += 2, w += 2 * kWidth) {
    for (int64_t line = 0; line < 2 * kWidth; line += 16) hwy::Prefetch(w + kAhead + line);
    const Floats a = hn::Set(d, x[i]), b = hn::Set(d, x[i + 1]);
    for (int v = 0; v < kVectors; ++v) even[v] = hn::MulAdd(a, hn::Load(d, w + v * kStep), even[v]);
    for (int v = 0; v < kVectors; ++v) odd[v] = hn::MulAdd(b, hn::Load(d, w + kWidth + v * kStep), odd[v]);
  }
  if (i < in) {
    for (int v = 0; v < kVectors; ++v) even[v] = hn::MulAdd(hn::Set(d, x[i]), hn::Load(d, w + v * kStep), even[v]);
  }
  for (int v = 0; v < kVectors; ++v) hn::Store(even[v] + odd[v], d, sums + v * kStep);
}

HWY_INLINE float row_sum(const float* HWY_RESTRICT w, const float* HWY_RESTRICT x, int64_t in) {
  const F32 d;
  constexpr int kChains = 8;
  Floats sums[kChains];
  for (Floats& sum : sums) sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + kChains * kStep <= in; i += kChains * kStep) {
    for (int64_t line = 0; line < kChains * kStep; line += 16) hwy::Prefetch(w + i + kAhead + line);
    for (int chain = 0; chain < kChains; ++chain) {
      sums[chain] = hn::MulAdd(hn::LoadU(d, w + i + chain * kStep), hn::LoadU(d, x + i + chain * kStep), sums[chain]);
    }
  }
  for (; i + kStep <= in; i += kStep) sums[0] = hn::MulAdd(hn::LoadU(d, w + i), hn::LoadU(d, x + i), sums[0]);
  for (int chain = 1; chain < kChains; ++chain) sums[0] = sums[0] + sums[chain];
  float total = hn::GetLane(hn::SumOfLanes(d, sums[0]));
  for (; i < in; ++i) total += w[i] * x[i];
  return total;
}

void product(const Product& p, int64_t begin, int64_t end) {
  const WeightLayout& layout = p.layout;
  HWY_ALIGN float sums[kWidestPanel];
  if (layout.panel == 0) {
    for (int64_t row = begin; row < end; row += kWidestPanel) {
      const int64_t count = std::min(kWidestPanel, end - row);
      for (int64_t r = 0; r < count; ++r) sums[r] = row_sum(p.weights + (row + r) * layout.in, p.x, layout.in);
      finish(p, row, count, sums);
    }
    return;
  }
  for (int64_t at = begin; at < end; ++at) {
    const float* panel = p.weights + at * layout.padded_in * layout.panel;
    switch (layout.panel) {
      case 16: panel_sums<16 / kStep>(panel, p.x, layout.in, sums); break;
      case 32: panel_sums<32 / kStep>(panel, p.x, layout.in, sums); break;
      case 48: panel_sums<48 / kStep>(panel, p.x, layout.in, sums); break;
      default: panel_sums<kWidestPanel / kStep>(panel, p.x, layout.in, sums);
    }
    const int64_t first = at * layout.panel;
    finish(p, first, std::min(layout.panel, layout.out - first), sums);
  }
}

// Sums over a row. vector(i, sum) returns `sum` plus the vector of terms from i on; there are four such chains. scalar(i) returns one
// of the last terms, which do not fill a vector.
template <class Vector, class Scalar>
HWY_INLINE float sum_over(int64_t width, const Vector& vector, const Scalar& scalar) {
  const F32 d;
  Floats a = hn::Zero(d), b = a, c = a, e = a;
  int64_t i = 0;
  for (; i + 4 * kStep <= width; i += 4 * kStep) {
    a = vector(i, a);
    b = vector(i + kStep, b);
    c = vector(i + 2 * kStep, c);
    e = vector(i + 3 * kStep, e);
  }
  for (; i + kStep <= width; i += kStep) a = vector(i, a);
  float total = hn::GetLane(hn::SumOfLanes(d, (a + b) + (c + e)));
  for (; i < width; ++i) total += scalar(i);
  return total;
}

HWY_INLINE void norm_row(const NormCall& call, int64_t row) {
  const F32 d;
  const float* x = call.x + row * call.width;
  float* out = call.out + row * call.width;
  float* kept = call.normalised ? call.normalised + row * call.width : nullptr;
  const int64_t width = call.width;
  float mean = 0;
  if (!call.rms) {
    const auto add = [&](int64_t i, Floats sum) HWY_ATTR { return sum + hn::LoadU(d, x + i); };
    mean = sum_over(width, add, [&](int64_t i) { return x[i]; }) / static_cast<float>(width);
  }
  const Floats means = hn::Set(d, mean);
  const auto add_square = [&](int64_t i, Floats sum) HWY_ATTR {
    const Floats away = hn::LoadU(d, x + i) - means;
    return hn::MulAdd(away, away, sum);
  };
  const float square = sum_over(width, add_square, [&](int64_t i) { return (x[i] - mean) * (x[i] - mean); });
  const double variance = static_cast<double>(square) / static_cast<double>(width);
  const float scale = static_cast<float>(1 / std::sqrt(variance + call.epsilon));
  const Floats scales = hn::Set(d, scale);
  if (call.scales) call.scales[row] = scale;
  int64_t i = 0;
  for (; i + kStep <= width; i += kStep) {
    const Floats y = (hn::LoadU(d, x + i) - means) * scales;
    if (kept) hn::StoreU(y, d, kept + i);
    const Floats bias = call.bias ? hn::LoadU(d, call.bias + i) : hn::Zero(d);
    hn::StoreU(hn::MulAdd(y, hn::LoadU(d, call.weight + i), bias), d, out + i);
  }
  for (; i < width; ++i) {
    const float y = (x[i] - mean) * scale;
    if (kept) kept[i] = y;
    out[i] = y * call.weight[i] + (call.bias ? call.bias[i] : 0);
  }
}

void norm(const NormCall& call, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) norm_row(call, row);
}

void gated(const GatedCall& call, int64_t begin, int64_t end) {
  const F32 d;
  for (int64_t row = begin; row < end; ++row) {
    const float* gate = call.x + row * 2 * call.width;
    const float* up = gate + call.width;
    float* out = call.out + row * call.width;
    int64_t i = 0;
    for (; i + kStep <= call.width; i += kStep) {
      hn::StoreU(activated(call.activation, hn::LoadU(d, gate + i)) * hn::LoadU(d, up + i), d, out + i);
    }
    if (i == call.width) continue;
    HWY_ALIGN float tail[kStep] = {};
    std::copy(gate + i, gate + call.width, tail);
    hn::Store(activated(call.activation, hn::Load(d, tail)), d, tail);
    for (int64_t c = i; c < call.width; ++c) out[c] = tail[c - i] * up[c];
  }
}

const DenseKernels* kernels() {
  static const DenseKernels table = {product, norm, gated, activate};
  return &table;
}

#endif  // CLEARHEAD_TARGET_HAS_KERNELS
}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace clearhead::cpu {

const DenseKernels& dense_kernels(InstructionSet isa) { return isa == InstructionSet::kAvx512 ? *N_AVX3::kernels() : *N_AVX2::kernels(); }

}  // namespace clearhead::cpu
#endif
