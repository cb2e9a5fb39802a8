// Gradients of activations and norms, losses, softmax and optimiser steps, with vector code. The last elements, which do
// not fill a vector, are padded.
#include "backends/cpu/dense/gradient_kernels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "backends/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/dense/gradient_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/simd/activation-inl.h"
#include "backends/cpu/simd/elements-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {
#if CLEARHEAD_TARGET_HAS_KERNELS
namespace {

void activation(const ActivationGradientCall& call, int64_t begin, int64_t end) {
  const float *x = call.x + begin, *d_out = call.d_out + begin;
  float* d_x = call.d_x + begin;
  for_each_vector(end - begin, [&](const auto& load, const auto& store) HWY_ATTR {
    const Floats gradient = slope_of(call.activation, load(x)) * load(d_out);
    store(call.accumulate ? load(d_x) + gradient : gradient, d_x);
  });
}

void gated(const GatedGradientCall& call, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float *gate = call.x + row * 2 * call.width, *up = gate + call.width, *d_out = call.d_out + row * call.width;
    float *d_gate = call.d_x + row * 2 * call.width, *d_up = d_gate + call.width;
    for_each_vector(call.width, [&](const auto& load, const auto& store) HWY_ATTR {
      const Floats g = load(gate), d = load(d_out);
      const Floats to_gate = slope_of(call.activation, g) * load(up) * d, to_up = activated(call.activation, g) * d;
      store(call.accumulate ? load(d_gate) + to_gate : to_gate, d_gate);
      store(call.accumulate ? load(d_up) + to_up : to_up, d_up);
    });
  }
}

HWY_INLINE void norm_row(const NormGradientCall& call, int64_t row) {
  const F32 d;
  const float *normalised = call.normalised + row * call.width, *d_out = call.d_out + row * call.width;
  Floats sum = hn::Zero(d), product = hn::Zero(d);
  for_each_vector(call.width, [&](const auto& load, const auto& store) HWY_ATTR {
    const Floats y = load(normalised), given = load(d_out), g = given * load(call.weight);
    sum = sum + g;
    product = hn::MulAdd(g, y, product);
    if (call.d_weight) store(hn::MulAdd(given, y, load(call.d_weight)), call.d_weight);
    if (call.d_bias) store(load(call.d_bias) + given, call.d_bias);
  });
  if (!call.d_x) return;
  const float width = static_cast<float>(call.width);
  const Floats mean = hn::Set(d, call.rms ? 0 : total(sum) / width), along = hn::Set(d, total(product) / width);
  const Floats scale = hn::Set(d, call.scales[row]);
  float* d_x = call.d_x + row * call.width;
  for_each_vector(call.width, [&](const auto& load, const auto& store) HWY_ATTR {
    const Floats g = load(d_out) * load(call.weight);
    const Floats gradient = scale * hn::NegMulAdd(load(normalised), along, g - mean);
    store(call.accumulate ? load(d_x) + gradient : gradient, d_x);
  });
}

void norm(const NormGradientCall& call, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) norm_row(call, row);
}

void add_scaled(const float* x, float scale, float* to, int64_t count) {
  const Floats factor = hn::Set(F32(), scale);
  for_each_vector(count, [&](const auto& load, const auto& store) HWY_ATTR { store(hn::MulAdd(factor, load(x), load(to)), to); });
}

void column_sums(const ColumnSumCall& call, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) add_scaled(call.x + row * call.stride, 1, call.sums, call.width);
}

float largest_of(const float* x, int64_t count) {
  float largest = x[0];
  int64_t i = 0;
  if (count >= kStep) {
    const F32 d;
    Floats most = hn::LoadU(d, x);
    for (i = kStep; i + kStep <= count; i += kStep) most = hn::Max(most, hn::LoadU(d, x + i));
    largest = hn::GetLane(hn::MaxOfLanes(d, most));
  }
  for (; i < count; ++i) largest = std::max(largest, x[i]);
  return largest;
}

// Applies sum = add(sum, x) to all x; lanes past the end read `past`. Pieces are summed in f32, their sums in double.
template <class F>
HWY_INLINE double sum_of(const float* x, int64_t count, const F& add, float past = 0) {
  constexpr int64_t kPiece = 1024;
  double sum = 0;
  for (int64_t first = 0; first < count; first += kPiece) {
    Floats of_piece = hn::Zero(F32());
    for_each_vector(
        std::min(kPiece, count - first), [&](const auto& load, const auto&) HWY_ATTR { of_piece = add(of_piece, load(x + first)); }, past);
    sum += static_cast<double>(total(of_piece));
  }
  return sum;
}

void cross_entropy(const CrossEntropyCall& call, int64_t begin, int64_t end) {
  const F32 d;
  constexpr float kNothing = -std::numeric_limits<float>::infinity();
  for (int64_t row = begin; row < end; ++row) {
    const float* logits = call.logits + row * call.classes;
    const float most = largest_of(logits, call.classes);
    const Floats largest = hn::Set(d, most);
    const double sum = sum_of(
        logits, call.classes, [&](Floats all, Floats x) HWY_ATTR { return all + exponential(x - largest); }, kNothing);
    const double log_sum_exp = static_cast<double>(most) + std::log(sum), smoothing = static_cast<double>(call.smoothing);
    call.log_sum_exp[row] = static_cast<float>(log_sum_exp);
    call.losses[row] = 0;
    if (call.targets[row] == call.ignored) continue;
    double smoothed = 0;  // without smoothing, a logit of −∞ is allowed
    if (smoothing > 0)
      smoothed = smoothing * sum_of(logits, call.classes, [](Floats all, Floats x) HWY_ATTR { return all + x; }) /
                 static_cast<double>(call.classes);
    call.losses[row] = static_cast<float>(log_sum_exp - (1 - smoothing) * static_cast<double>(logits[call.targets[row]]) - smoothed);
  }
}

void cross_entropy_gradient(const CrossEntropyCall& call, int64_t begin, int64_t end) {
  const F32 d;
  const Floats spread = hn::Set(d, call.smoothing / static_cast<float>(call.classes));
  for (int64_t row = begin; row < end; ++row) {
    const bool counts = call.targets[row] != call.ignored;
    const float* logits = call.logits + row * call.classes;
    float* d_logits = call.d_logits + row * call.classes;
    const Floats shift = hn::Set(d, call.log_sum_exp[row]), factor = hn::Set(d, counts ? call.d_losses[row] : 0);
    for_each_vector(call.classes, [&](const auto& load, const auto& store) HWY_ATTR {
      const Floats gradient = factor * (exponential(load(logits) - shift) - spread);
      store(call.accumulate ? load(d_logits) + gradient : gradient, d_logits);
    });
    if (counts) d_logits[call.targets[row]] -= call.d_losses[row] * (1 - call.smoothing);
  }
}

void adam(const AdamCall& call, int64_t begin, int64_t end) {
  const F32 d;
  float *weights = call.weights + begin, *first = call.m + begin, *second = call.v + begin;
  const float* gradients = call.gradients + begin;
  const Floats scale = hn::Set(d, call.gradient_scale), beta1 = hn::Set(d, call.beta1), beta2 = hn::Set(d, call.beta2);
  const Floats rest1 = hn::Set(d, 1 - call.beta1), rest2 = hn::Set(d, 1 - call.beta2), epsilon = hn::Set(d, call.epsilon);
  const Floats one1 = hn::Set(d, 1 / call.correction1), one2 = hn::Set(d, 1 / call.correction2);
  const Floats rate = hn::Set(d, call.rate), decay = hn::Set(d, call.decay), l2 = hn::Set(d, call.l2);
  for_each_vector(end - begin, [&](const auto& load, const auto& store) HWY_ATTR {
    const Floats w = load(weights), g = hn::MulAdd(l2, w, load(gradients) * scale);
    const Floats m = hn::MulAdd(beta1, load(first), rest1 * g), v = hn::MulAdd(beta2, load(second), rest2 * g * g);
    store(m, first);
    store(v, second);
    const Floats step = m * one1 / (hn::Sqrt(v * one2) + epsilon);
    store(hn::NegMulAdd(rate, hn::MulAdd(decay, w, step), w), weights);
  });
}

void sgd(const SgdCall& call, int64_t begin, int64_t end) {
  const F32 d;
  float *weights = call.weights + begin, *sum = call.momentum_sum ? call.momentum_sum + begin : nullptr;
  const float* gradients = call.gradients + begin;
  const Floats scale = hn::Set(d, call.gradient_scale), l2 = hn::Set(d, call.l2);
  const Floats rate = hn::Set(d, call.rate), momentum = hn::Set(d, call.momentum);
  for_each_vector(end - begin, [&](const auto& load, const auto& store) HWY_ATTR {
    const Floats w = load(weights), g = hn::MulAdd(l2, w, load(gradients) * scale);
    const Floats b = sum ? hn::MulAdd(momentum, load(sum), g) : g;
    if (sum) store(b, sum);
    store(hn::NegMulAdd(rate, call.nesterov ? hn::MulAdd(momentum, b, g) : b, w), weights);
  });
}

double sum_of_squares(const float* x, int64_t count) {
  return sum_of(x, count, [](Floats all, Floats v) HWY_ATTR { return hn::MulAdd(v, v, all); });
}

// e^(x − largest). The result is 0 below the normal numbers of f32 and at x = −∞.
HWY_INLINE Floats shifted_exponential(Floats x, Floats largest) {
  const Floats below = x - largest;
  return hn::IfThenZeroElse(below < hn::Set(F32(), -87.0F), exponential(below));
}

void softmax(const SoftmaxCall& call, int64_t begin, int64_t end) {
  const F32 d;
  for (int64_t row = begin; row < end; ++row) {
    const float* x = call.x + row * call.width;
    float* out = call.out + row * call.width;
    const Floats largest = hn::Set(d, largest_of(x, call.width));
    for_each_vector(call.width, [&](const auto& load, const auto& store) HWY_ATTR { store(shifted_exponential(load(x), largest), out); });
    Floats sum = hn::Zero(d);
    for_each_vector(call.width, [&](const auto& load, const auto&) HWY_ATTR { sum = sum + load(out); });
    const Floats share = hn::Set(d, 1 / total(sum));
    for_each_vector(call.width, [&](const auto& load, const auto& store) HWY_ATTR { store(load(out) * share, out); });
  }
}

void softmax_gradient(const SoftmaxGradientCall& call, int64_t begin, int64_t end) {
  const F32 d;
  for (int64_t row = begin; row < end; ++row) {
    const float *p = call.p + row * call.width, *d_out = call.d_out + row * call.width;
    float* d_x = call.d_x + row * call.width;
    Floats product = hn::Zero(d);
    for_each_vector(call.width, [&](const auto& load, const auto&) HWY_ATTR { product = hn::MulAdd(load(p), load(d_out), product); });
    const Floats along = hn::Set(d, total(product));
    for_each_vector(call.width, [&](const auto& load, const auto& store) HWY_ATTR {
      const Floats gradient = load(p) * (load(d_out) - along);
      store(call.accumulate ? load(d_x) + gradient : gradient, d_x);
    });
  }
}

const GradientKernels* kernels() {
  static const GradientKernels table = {
      activation, gated, norm,           column_sums, add_scaled,      cross_entropy, cross_entropy_gradient,
      adam,       sgd,   sum_of_squares, softmax,     softmax_gradient};
  return &table;
}

}  // namespace
#endif  // CLEARHEAD_TARGET_HAS_KERNELS
}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace clearhead::cpu {

const GradientKernels& gradient_kernels(InstructionSet isa) {
  return isa == InstructionSet::kAvx512 ? *N_AVX3::kernels() : *N_AVX2::kernels();
}

}  // namespace clearhead::cpu
#endif
