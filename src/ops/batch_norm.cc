// Batch norm (Ioffe & Szegedy 2015, algorithm 1): y = x̂·w + b, x̂ = (x − mean)/√(variance + ε), per channel over all other axes.
//
//   in training    mean and variance (divisor n) of this batch;
//                  running ← (1 − momentum)·running + momentum·statistic, where the variance has divisor n − 1
//   in evaluation  the running statistics, which are constants
//   backward       d_w += Σ d_y·x̂,  d_b += Σ d_y,
//                  d_x += w/√(variance + ε)·(d_y − [mean of d_y + x̂·mean of d_y·x̂, in training only])
//
// The layout is [batch, channels, positions]. One thread computes a block of channels; sums are in double, in batch order.
#include <cmath>
#include <vector>

#include "base/format.h"
#include "base/parallel.h"
#include "ops/ops.h"

namespace clearhead::ops {
namespace {

constexpr int64_t kBlock = 16;  // channels per block: a cache line if there is one position

struct Layout {
  int64_t batch, channels, positions;
  int64_t elements() const { return batch * positions; }  // per channel
};

Layout layout_of(const Tensor& x) {
  const int64_t count = x.size(0) * x.size(1);
  return {x.size(0), x.size(1), count > 0 ? x.numel() / count : 0};
}

// Calls f(channel, first element, count) for every contiguous run of elements of the channels [begin, end), in memory order.
template <class F>
void for_each_run(const Layout& at, int64_t begin, int64_t end, const F& f) {
  for (int64_t n = 0; n < at.batch; ++n) {
    for (int64_t c = begin; c < end; ++c) f(c, (n * at.channels + c) * at.positions, at.positions);
  }
}

template <class Body>
void for_each_block(const Layout& at, const Body& body) {
  parallel_for((at.channels + kBlock - 1) / kBlock,
               [&](int64_t block, int) { body(block * kBlock, std::min(at.channels, (block + 1) * kBlock)); });
}

// Mean and 1/√(variance + ε) per channel. In training they are those of the batch, and the running statistics are updated; in
// evaluation they are the running statistics.
void measure(const BatchNorm& norm, const Layout& at, const float* x, float* mean, float* scale) {
  const double count = static_cast<double>(at.elements());
  Tensor running_mean = norm.running_mean, running_variance = norm.running_variance;
  float* const moved_mean = norm.training ? running_mean.mutable_data<float>() : nullptr;
  float* const moved_variance = norm.training ? running_variance.mutable_data<float>() : nullptr;
  for_each_block(at, [&](int64_t begin, int64_t end) {
    double sums[kBlock] = {}, squares[kBlock] = {};
    const auto keep = [&](int64_t c, double middle, double variance) {
      mean[c] = static_cast<float>(middle);
      scale[c] = static_cast<float>(1 / std::sqrt(variance + norm.epsilon));
    };
    if (!norm.training) {
      const float *means = norm.running_mean.data<float>(), *variances = norm.running_variance.data<float>();
      for (int64_t c = begin; c < end; ++c) keep(c, static_cast<double>(means[c]), static_cast<double>(variances[c]));
      return;
    }
    for_each_run(at, begin, end, [&](int64_t c, int64_t first, int64_t length) {
      for (int64_t i = first; i < first + length; ++i) sums[c - begin] += static_cast<double>(x[i]);
    });
    for_each_run(at, begin, end, [&](int64_t c, int64_t first, int64_t length) {
      const double middle = sums[c - begin] / count;
      for (int64_t i = first; i < first + length; ++i) squares[c - begin] += std::pow(static_cast<double>(x[i]) - middle, 2);
    });
    for (int64_t c = begin; c < end; ++c) {
      const auto move = [&](float& to, double statistic) {
        to = static_cast<float>((1 - norm.momentum) * static_cast<double>(to) + norm.momentum * statistic);
      };
      keep(c, sums[c - begin] / count, squares[c - begin] / count);
      move(moved_mean[c], sums[c - begin] / count);
      move(moved_variance[c], squares[c - begin] / (count - 1));
    }
  });
}

struct Backward {
  const float *x, *d_out, *weight, *mean, *scale;
  float *d_x, *d_weight, *d_bias;  // null: not wanted
  bool accumulate, training;
};

void go_back(const Layout& at, const Backward& b) {
  const double count = static_cast<double>(at.elements());
  for_each_block(at, [&](int64_t begin, int64_t end) {
    double sums[kBlock] = {}, products[kBlock] = {};  // Σ d_y and Σ d_y·x̂
    for_each_run(at, begin, end, [&](int64_t c, int64_t first, int64_t length) {
      for (int64_t i = first; i < first + length; ++i) {
        sums[c - begin] += static_cast<double>(b.d_out[i]);
        products[c - begin] += static_cast<double>(b.d_out[i]) * static_cast<double>((b.x[i] - b.mean[c]) * b.scale[c]);
      }
    });
    for (int64_t c = begin; c < end; ++c) {
      if (b.d_weight) b.d_weight[c] += static_cast<float>(products[c - begin]);
      if (b.d_bias) b.d_bias[c] += static_cast<float>(sums[c - begin]);
    }
    if (!b.d_x) return;
    for_each_run(at, begin, end, [&](int64_t c, int64_t first, int64_t length) {
      const float factor = b.weight[c] * b.scale[c], middle = b.training ? static_cast<float>(sums[c - begin] / count) : 0;
      const float along = b.training ? static_cast<float>(products[c - begin] / count) : 0;
      for (int64_t i = first; i < first + length; ++i) {
        const float value = factor * (b.d_out[i] - middle - (b.x[i] - b.mean[c]) * b.scale[c] * along);
        b.d_x[i] = (b.accumulate ? b.d_x[i] : 0) + value;
      }
    });
  });
}

void check(const Tensor& x, const BatchNorm& norm, const Tensor& out) {
  if (x.rank() < 2 || x.shape() != out.shape() || !x.is_contiguous() || !out.is_contiguous() || x.shares_storage_with(out)) {
    fail(ErrorCode::kShape, "batch norm: x is {}, out {}; expected two contiguous tensors of the same shape [batch, channels, …]",
         to_string(x.shape()), to_string(out.shape()));
  }
  const Shape expected = {x.size(1)};
  for (const Tensor* t : {&norm.weight, &norm.bias, &norm.running_mean, &norm.running_variance}) {
    if (t->shape() != expected || !t->is_contiguous()) {
      fail(ErrorCode::kShape, "batch norm: weight {}, bias {}, running mean {}, running variance {}; expected {} each",
           to_string(norm.weight.shape()), to_string(norm.bias.shape()), to_string(norm.running_mean.shape()),
           to_string(norm.running_variance.shape()), to_string(expected));
    }
  }
  if (norm.training && layout_of(x).elements() < 2) {
    fail(ErrorCode::kShape, "batch norm: x is {}; expected at least two elements per channel in training", to_string(x.shape()));
  }
}

}  // namespace

void batch_norm(Run& run, const Tensor& x, const BatchNorm& norm, Tensor& out) {
  check(x, norm, out);
  const Layout at = layout_of(x);
  const Tensor weight = norm.weight, bias = norm.bias;
  const Arena::Scope scope(run.arena);
  Tensor mean = run.take({at.channels}), scale = run.take({at.channels});
  measure(norm, at, x.data<float>(), mean.mutable_data<float>(), scale.mutable_data<float>());
  const float *from = x.data<float>(), *m = mean.data<float>(), *s = scale.data<float>(), *w = weight.data<float>(),
              *b = bias.data<float>();
  float* to = out.mutable_data<float>();
  for_each_block(at, [&](int64_t begin, int64_t end) {
    for_each_run(at, begin, end, [&](int64_t c, int64_t first, int64_t length) {
      for (int64_t i = first; i < first + length; ++i) to[i] = (from[i] - m[c]) * s[c] * w[c] + b[c];
    });
  });
  if (!run.records({&x, &weight, &bias})) return;
  run.recorder->record("batch norm", out, {x, weight}, [=, training = norm.training](Gradients& gradients) {
    const Tensor d_out = gradients.of(out);
    Backward back{x.data<float>(),
                  d_out.data<float>(),
                  weight.data<float>(),
                  mean.data<float>(),
                  scale.data<float>(),
                  nullptr,
                  nullptr,
                  nullptr,
                  false,
                  training};
    if (gradients.wants(x)) {
      Gradients::Place place = gradients.place(x);
      back.d_x = place.gradient.mutable_data<float>();
      back.accumulate = place.accumulate;
    }
    if (gradients.wants(weight)) back.d_weight = gradients.of(weight).mutable_data<float>();
    if (gradients.wants(bias)) back.d_bias = gradients.of(bias).mutable_data<float>();
    go_back(at, back);
  });
}

}  // namespace clearhead::ops
