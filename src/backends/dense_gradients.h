// Gradients of the dense ops, losses, dropout and optimiser steps: everything that training computes besides matrix
// products and attention.
//
// Buffers are f32 and rows are contiguous. Sums over rows are added in the same order for any number of threads.
// Functions may use parallel_for. "(+)=" means += if `accumulate`, else =.
#pragma once

#include <cmath>
#include <cstdint>

#include "backends/dense.h"
#include "base/random.h"

namespace clearhead {

/// d_x (+)= f'(x)·d_out.
struct ActivationGradientCall {
  Activation activation = Activation::kNone;
  const float* x = nullptr;  // input of f
  const float* d_out = nullptr;
  float* d_x = nullptr;  // may be d_out
  int64_t count = 0;
  bool accumulate = false;
};

/// Gradient of f(gate) ⊙ up: d_x[r] (+)= [f'(gate)·up·d_out | f(gate)·d_out].
struct GatedGradientCall {
  Activation activation = Activation::kSilu;
  const float* x = nullptr;      // [rows, gate | up]
  const float* d_out = nullptr;  // [rows, width]
  float* d_x = nullptr;          // [rows, gate | up]
  int64_t rows = 0, width = 0;
  bool accumulate = false;
};

/// Gradient of y = x̂·w + b, where x̂ = (x − mean)·scale with scale = 1/√(var + ε) (RMS norm: 1/√(mean x² + ε)), and
/// g = d_out·w:
///   d_x (+)= scale·(g − mean g − x̂·mean(g·x̂)), without `mean g` for RMS norm
///   d_w += Σ_r d_out·x̂,  d_b += Σ_r d_out
struct NormGradientCall {
  bool rms = false;
  const float* weight = nullptr;      // [width]
  const float* normalised = nullptr;  // x̂ [rows, width]
  const float* scales = nullptr;      // [rows]
  const float* d_out = nullptr;       // [rows, width]
  float* d_x = nullptr;               // [rows, width], may be d_out; null: not wanted
  bool accumulate = false;            // for d_x
  float* d_weight = nullptr;          // [width]; null: not wanted
  float* d_bias = nullptr;            // [width]; null: not wanted
  int64_t rows = 0, width = 0;
};

/// sums[c] += Σ_r x[r][c].
struct ColumnSumCall {
  const float* x = nullptr;  // [rows, width]
  int64_t rows = 0, width = 0, stride = 0;
  float* sums = nullptr;
};

/// d_table[ids[r]] += scale·d_out[r]. The additions to one entry run in ascending r.
struct EmbeddingGradientCall {
  const int32_t* ids = nullptr;  // [rows]
  const float* d_out = nullptr;  // [rows, width]
  float scale = 1;
  float* d_table = nullptr;  // [entries, width]
  int64_t rows = 0, width = 0;
};

/// losses[r] = −Σ_c target_c·log softmax(logits[r])_c, with
/// target = (1 − smoothing)·[c = targets[r]] + smoothing/classes (Szegedy et al. 2016, §7). Rows with the target
/// `ignored` have loss 0.
struct CrossEntropyCall {
  const float* logits = nullptr;     // [rows, classes]
  const int32_t* targets = nullptr;  // [rows]
  int64_t rows = 0, classes = 0;
  float smoothing = 0;
  int32_t ignored = -100;
  float* losses = nullptr;          // [rows]
  float* log_sum_exp = nullptr;     // [rows]: written by the forward call, read by the gradient
  const float* d_losses = nullptr;  // [rows], for the gradient
  float* d_logits = nullptr;        // [rows, classes]: (softmax − target)·d_loss, added if `accumulate`
  bool accumulate = false;
};

/// Dropout keeps element i if its 16 bits of a counter-based random number are at least rate·2¹⁶. One 64-bit number
/// serves four elements.
inline uint32_t dropout_threshold(float rate) { return static_cast<uint32_t>(std::lround(rate * 65536.0F)); }
inline bool keeps(uint64_t number, int64_t i, uint32_t threshold) { return ((number >> (i % 4 * 16)) & 0xFFFF) >= threshold; }

/// out[i] (+)= x[i]·65536/(65536 − threshold) if element i is kept, else 0. Whether it is kept depends only on `seed`
/// and i, so the same call, applied to d_out, computes the gradient.
struct DropoutCall {
  const float* x = nullptr;
  float* out = nullptr;  // may be x
  int64_t count = 0;
  float rate = 0;
  uint64_t seed = 0;
  bool accumulate = false;
};

/// One step of Adam with decoupled weight decay (Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2),
/// with the gradient g' = g·gradient_scale + l2·w:
///   m = β₁m + (1 − β₁)g'    v = β₂v + (1 − β₂)g'²
///   w −= rate·(m/(1 − β₁ᵗ)/(√(v/(1 − β₂ᵗ)) + ε) + decay·w)
struct AdamCall {
  float *weights = nullptr, *m = nullptr, *v = nullptr;
  const float* gradients = nullptr;
  int64_t count = 0;
  float rate = 0, beta1 = 0.9F, beta2 = 0.999F, epsilon = 1e-8F, decay = 0, l2 = 0, gradient_scale = 1;
  float correction1 = 1, correction2 = 1;  // 1 − β₁ᵗ, 1 − β₂ᵗ
};

/// Gradient of p = softmax(x):  d_x[r] (+)= p ⊙ (d_out − Σ_c p_c·d_out_c).
struct SoftmaxGradientCall {
  const float* p = nullptr;      // [rows, width]
  const float* d_out = nullptr;  // [rows, width]
  float* d_x = nullptr;
  int64_t rows = 0, width = 0;
  bool accumulate = false;
};

/// One step of stochastic gradient descent with the gradient g' = g·gradient_scale + l2·w:
///   b = momentum·b + g'    w −= rate·b, or w −= rate·(g' + momentum·b) if `nesterov`
struct SgdCall {
  float* weights = nullptr;
  float* momentum_sum = nullptr;  // b; null if momentum is 0: b is then g'
  const float* gradients = nullptr;
  int64_t count = 0;
  float rate = 0, momentum = 0;
  bool nesterov = false;
  float l2 = 0, gradient_scale = 1;
};

struct DenseGradients {
  void (*activation)(const ActivationGradientCall& call) = nullptr;
  void (*gated)(const GatedGradientCall& call) = nullptr;
  void (*norm)(const NormGradientCall& call) = nullptr;
  void (*column_sums)(const ColumnSumCall& call) = nullptr;
  void (*embedding)(const EmbeddingGradientCall& call) = nullptr;
  void (*cross_entropy)(const CrossEntropyCall& call) = nullptr;
  void (*cross_entropy_gradient)(const CrossEntropyCall& call) = nullptr;
  void (*dropout)(const DropoutCall& call) = nullptr;
  void (*adam)(const AdamCall& call) = nullptr;
  void (*sgd)(const SgdCall& call) = nullptr;
  /// Σ x², in a fixed order for any number of threads.
  double (*sum_of_squares)(const float* x, int64_t count) = nullptr;
  void (*softmax)(const SoftmaxGradientCall& call) = nullptr;
  void (*convolution)(const ConvolutionGradientCall& call) = nullptr;
  void (*gates)(const GateGradientCall& call) = nullptr;
};

}  // namespace clearhead
