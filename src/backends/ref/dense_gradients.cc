// Gradients of the dense ops, losses and optimiser steps: plain loops with arithmetic in double.
#include "backends/dense_gradients.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "backends/ref/dense.h"

namespace clearhead {
namespace {

using reference::activated;

double wide(float x) { return static_cast<double>(x); }

void put(float& to, double value, bool accumulate) { to = static_cast<float>(accumulate ? wide(to) + value : value); }

double slope_of(Activation activation, double x) {
  switch (activation) {
    case Activation::kNone: return 1;
    case Activation::kGeluErf: return 0.5 * (1 + std::erf(x / std::sqrt(2.0))) + x * std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
    case Activation::kGeluTanh: {
      const double root = std::sqrt(2 / M_PI), t = std::tanh(root * (x + 0.044715 * x * x * x));
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * root * (1 + 3 * 0.044715 * x * x);
    }
    case Activation::kRelu: return x > 0 ? 1 : 0;
    case Activation::kSilu: {
      const double s = 1 / (1 + std::exp(-x));
      return s + x * s * (1 - s);
    }
    case Activation::kTanh: return 1 - std::tanh(x) * std::tanh(x);
    case Activation::kSigmoid: {
      const double s = 1 / (1 + std::exp(-x));
      return s * (1 - s);
    }
  }
  return 1;
}

void activation_gradient(const ActivationGradientCall& call) {
  for (int64_t i = 0; i < call.count; ++i) {
    put(call.d_x[i], slope_of(call.activation, wide(call.x[i])) * wide(call.d_out[i]), call.accumulate);
  }
}

void gated_gradient(const GatedGradientCall& call) {
  for (int64_t row = 0; row < call.rows; ++row) {
    for (int64_t c = 0; c < call.width; ++c) {
      const double gate = wide(call.x[row * 2 * call.width + c]), up = wide(call.x[(row * 2 + 1) * call.width + c]);
      const double d_out = wide(call.d_out[row * call.width + c]);
      put(call.d_x[row * 2 * call.width + c], slope_of(call.activation, gate) * up * d_out, call.accumulate);
      put(call.d_x[(row * 2 + 1) * call.width + c], activated(call.activation, gate) * d_out, call.accumulate);
    }
  }
}

void norm_gradient(const NormGradientCall& call) {
  const double width = static_cast<double>(call.width);
  std::vector<double> d_weight(static_cast<size_t>(call.width), 0), d_bias(static_cast<size_t>(call.width), 0);
  for (int64_t row = 0; row < call.rows; ++row) {
    const float *normalised = call.normalised + row * call.width, *d_out = call.d_out + row * call.width;
    double mean = 0, product = 0;
    for (int64_t c = 0; c < call.width; ++c) {
      const double g = wide(d_out[c]) * wide(call.weight[c]);
      mean += g / width;
      product += g * wide(normalised[c]) / width;
      d_weight[static_cast<size_t>(c)] += wide(d_out[c]) * wide(normalised[c]);
      d_bias[static_cast<size_t>(c)] += wide(d_out[c]);
    }
    if (call.rms) mean = 0;
    for (int64_t c = 0; c < call.width && call.d_x; ++c) {
      const double g = wide(d_out[c]) * wide(call.weight[c]);
      put(call.d_x[row * call.width + c], wide(call.scales[row]) * (g - mean - wide(normalised[c]) * product), call.accumulate);
    }
  }
  for (int64_t c = 0; c < call.width; ++c) {
    if (call.d_weight) put(call.d_weight[c], d_weight[static_cast<size_t>(c)], true);
    if (call.d_bias) put(call.d_bias[c], d_bias[static_cast<size_t>(c)], true);
  }
}

void column_sums(const ColumnSumCall& call) {
  for (int64_t c = 0; c < call.width; ++c) {
    double sum = 0;
    for (int64_t row = 0; row < call.rows; ++row) sum += wide(call.x[row * call.stride + c]);
    put(call.sums[c], sum, true);
  }
}

void embedding_gradient(const EmbeddingGradientCall& call) {
  for (int64_t row = 0; row < call.rows; ++row) {
    float* to = call.d_table + call.ids[row] * call.width;
    for (int64_t c = 0; c < call.width; ++c) put(to[c], wide(call.scale) * wide(call.d_out[row * call.width + c]), true);
  }
}

void cross_entropy(const CrossEntropyCall& call) {
  for (int64_t row = 0; row < call.rows; ++row) {
    const float* logits = call.logits + row * call.classes;
    const double largest = wide(*std::max_element(logits, logits + call.classes));
    double sum = 0, total = 0;
    for (int64_t c = 0; c < call.classes; ++c) {
      sum += std::exp(wide(logits[c]) - largest);
      total += wide(logits[c]);
    }
    const double log_sum_exp = largest + std::log(sum), smoothing = wide(call.smoothing);
    call.log_sum_exp[row] = static_cast<float>(log_sum_exp);
    call.losses[row] = 0;
    if (call.targets[row] == call.ignored) continue;
    const double chosen = wide(logits[call.targets[row]]), mean = total / static_cast<double>(call.classes);
    call.losses[row] = static_cast<float>(log_sum_exp - (1 - smoothing) * chosen - (smoothing > 0 ? smoothing * mean : 0));
  }
}

void cross_entropy_gradient(const CrossEntropyCall& call) {
  for (int64_t row = 0; row < call.rows; ++row) {
    const float* logits = call.logits + row * call.classes;
    const bool counts = call.targets[row] != call.ignored;
    for (int64_t c = 0; c < call.classes; ++c) {
      const double target =
          wide(call.smoothing) / static_cast<double>(call.classes) + (c == call.targets[row] ? 1 - wide(call.smoothing) : 0);
      const double value = std::exp(wide(logits[c]) - wide(call.log_sum_exp[row])) - target;
      put(call.d_logits[row * call.classes + c], counts ? value * wide(call.d_losses[row]) : 0, call.accumulate);
    }
  }
}

void dropout(const DropoutCall& call) {
  const uint32_t threshold = dropout_threshold(call.rate);
  const double scale = 65536.0 / (65536.0 - static_cast<double>(threshold));
  for (int64_t i = 0; i < call.count; ++i) {
    const bool kept = keeps(random_bits(call.seed, static_cast<uint64_t>(i / 4)), i, threshold);
    put(call.out[i], kept ? wide(call.x[i]) * scale : 0, call.accumulate);
  }
}

void adam(const AdamCall& call) {
  for (int64_t i = 0; i < call.count; ++i) {
    const double w = wide(call.weights[i]), g = wide(call.gradients[i]) * wide(call.gradient_scale) + wide(call.l2) * w;
    const double m = wide(call.beta1) * wide(call.m[i]) + (1 - wide(call.beta1)) * g;
    const double v = wide(call.beta2) * wide(call.v[i]) + (1 - wide(call.beta2)) * g * g;
    const double step = m / wide(call.correction1) / (std::sqrt(v / wide(call.correction2)) + wide(call.epsilon));
    call.m[i] = static_cast<float>(m);
    call.v[i] = static_cast<float>(v);
    call.weights[i] = static_cast<float>(w - wide(call.rate) * (step + wide(call.decay) * w));
  }
}

void sgd(const SgdCall& call) {
  for (int64_t i = 0; i < call.count; ++i) {
    const double w = wide(call.weights[i]), g = wide(call.gradients[i]) * wide(call.gradient_scale) + wide(call.l2) * w;
    const double b = call.momentum_sum ? wide(call.momentum) * wide(call.momentum_sum[i]) + g : g;
    if (call.momentum_sum) call.momentum_sum[i] = static_cast<float>(b);
    call.weights[i] = static_cast<float>(w - wide(call.rate) * (call.nesterov ? g + wide(call.momentum) * b : b));
  }
}

double sum_of_squares(const float* x, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += wide(x[i]) * wide(x[i]);
  return sum;
}

void softmax_gradient(const SoftmaxGradientCall& call) {
  for (int64_t row = 0; row < call.rows; ++row) {
    const float *p = call.p + row * call.width, *d_out = call.d_out + row * call.width;
    double along = 0;
    for (int64_t c = 0; c < call.width; ++c) along += wide(p[c]) * wide(d_out[c]);
    for (int64_t c = 0; c < call.width; ++c) put(call.d_x[row * call.width + c], wide(p[c]) * (wide(d_out[c]) - along), call.accumulate);
  }
}

}  // namespace

const DenseGradients& ref_dense_gradients() {
  static const DenseGradients table = {
      activation_gradient,      gated_gradient,    norm_gradient, column_sums, embedding_gradient, cross_entropy,
      cross_entropy_gradient,   dropout,           adam,          sgd,         sum_of_squares,     softmax_gradient,
      ref_convolution_gradient, ref_gates_gradient};
  return table;
}

}  // namespace clearhead
