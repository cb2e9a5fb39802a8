// Convolution (LeCun et al. 1998; dilated: Yu & Koltun 2016; in groups: Krizhevsky et al. 2012) and pooling of images. Formulas:
// backends/convolution.h.
//
// Sequences are images of height 1. The gradient of a mean is spread over its window; the gradient of a maximum goes to the
// element that was chosen.
#include <string>

#include "backends/registry.h"
#include "base/format.h"
#include "base/grain.h"
#include "base/parallel.h"
#include "ops/choice.h"
#include "ops/ops.h"

namespace clearhead::ops {
namespace {

std::string pair_of(const std::array<int64_t, 2>& values) { return format("[{}, {}]", values[0], values[1]); }

void check(const char* op, const WindowShape& w) {
  for (size_t axis = 0; axis < 2; ++axis) {
    if (w.kernel[axis] < 1 || w.stride[axis] < 1 || w.dilation[axis] < 1 || w.padding[axis] < 0) {
      fail(ErrorCode::kShape, "{}: kernel {}, stride {}, dilation {}, padding {}; expected 1 or more, and a padding of 0 or more", op,
           pair_of(w.kernel), pair_of(w.stride), pair_of(w.dilation), pair_of(w.padding));
    }
    if (w.size[axis] < 1 || w.size[axis] + 2 * w.padding[axis] < w.dilation[axis] * (w.kernel[axis] - 1) + 1) {
      fail(ErrorCode::kShape, "{}: a kernel of {}, dilated by {}, does not fit into {} with a padding of {}", op, pair_of(w.kernel),
           pair_of(w.dilation), pair_of(w.size), pair_of(w.padding));
    }
  }
}

ConvolutionShape shape_of(const Tensor& x, const Tensor& weight, const Convolution& how) {
  const bool fits = x.rank() == 4 && weight.rank() == 4 && how.groups >= 1 && x.size(1) % how.groups == 0 &&
                    weight.size(0) % how.groups == 0 && weight.size(1) == x.size(1) / how.groups && weight.size(0) > 0 &&
                    weight.size(1) > 0;
  if (!fits) {
    fail(ErrorCode::kShape,
         "convolution: x is {}, the weight {}, in {} groups; expected [batch, channels, height, width] and [out, channels / groups, kernel "
         "height, kernel width], with in and out channels divisible by the number of groups",
         to_string(x.shape()), to_string(weight.shape()), how.groups);
  }
  ConvolutionShape shape;
  shape.windows = {{x.size(2), x.size(3)}, {weight.size(2), weight.size(3)}, how.stride, how.padding, how.dilation};
  shape.batch = x.size(0);
  shape.groups = how.groups;
  shape.in = weight.size(1);
  shape.out = weight.size(0) / how.groups;
  check("convolution", shape.windows);
  return shape;
}

WindowShape windows_of(const Tensor& x, const PoolWindow& how) {
  if (x.rank() != 4) fail(ErrorCode::kShape, "pooling: x is {}; expected [batch, channels, height, width]", to_string(x.shape()));
  const WindowShape windows{{x.size(2), x.size(3)}, how.kernel, how.stride, how.padding};
  check("pooling", windows);
  if (how.padding[0] >= how.kernel[0] || how.padding[1] >= how.kernel[1]) {
    fail(ErrorCode::kShape, "pooling: a padding of {} for a kernel of {}; expected less, so that no window is all padding",
         pair_of(how.padding), pair_of(how.kernel));
  }
  return windows;
}

void check_ranges(const char* op, const Tensor& x, const Tensor& out, const Shape& expected) {
  if (!x.is_contiguous() || !out.is_contiguous() || out.shape() != expected) {
    fail(ErrorCode::kShape, "{}: x is {}{}, out {}; expected contiguous tensors, out {}", op, x.is_contiguous() ? "" : "strided ",
         to_string(x.shape()), to_string(out.shape()), to_string(expected));
  }
}

// Calls f(output index, input rows, input columns) for every window of a plane. Rows and columns exclude the padding.
template <class F>
void for_each_window(const WindowShape& w, const F& f) {
  const int64_t width = w.outputs(1);
  for (int64_t at = 0; at < w.outputs(); ++at) {
    const int64_t top = at / width * w.stride[0] - w.padding[0], left = at % width * w.stride[1] - w.padding[1];
    f(at, Range{std::max<int64_t>(0, top), std::min(w.size[0], top + w.kernel[0])},
      Range{std::max<int64_t>(0, left), std::min(w.size[1], left + w.kernel[1])});
  }
}

void largest(Run& run, const Tensor& x, const WindowShape& w, Tensor& out) {
  const int64_t planes = x.size(0) * x.size(1);
  const float* from = x.data<float>();
  float* to = out.mutable_data<float>();
  auto chosen = std::make_shared<std::vector<int32_t>>(static_cast<size_t>(out.numel()));
  parallel_ranges(planes, grain_of(w.outputs() * w.taps()), [&](int64_t begin, int64_t end, int) {
    for (int64_t plane = begin; plane < end; ++plane) {
      const float* values = from + plane * w.inputs();
      for_each_window(w, [&](int64_t at, Range rows, Range columns) {
        int64_t best = rows.begin * w.size[1] + columns.begin;
        for (int64_t y = rows.begin; y < rows.end; ++y) {
          for (int64_t c = y * w.size[1] + columns.begin; c < y * w.size[1] + columns.end; ++c)
            best = is_better(values[c], values[best]) ? c : best;
        }
        to[plane * w.outputs() + at] = values[best];
        (*chosen)[static_cast<size_t>(plane * w.outputs() + at)] = static_cast<int32_t>(best);
      });
    }
  });
  record_choice(run, "max_pool", x, out, chosen, planes);
}

void mean(Run& run, const Tensor& x, const WindowShape& w, Tensor& out) {
  const int64_t planes = x.size(0) * x.size(1), grain = grain_of(w.outputs() * w.taps());
  const float* from = x.data<float>();
  float* to = out.mutable_data<float>();
  parallel_ranges(planes, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t plane = begin; plane < end; ++plane) {
      for_each_window(w, [&](int64_t at, Range rows, Range columns) {
        double sum = 0;
        for (int64_t y = rows.begin; y < rows.end; ++y) {
          for (int64_t c = columns.begin; c < columns.end; ++c) sum += static_cast<double>(from[plane * w.inputs() + y * w.size[1] + c]);
        }
        to[plane * w.outputs() + at] = static_cast<float>(sum / static_cast<double>(w.taps()));
      });
    }
  });
  if (!run.records({&x})) return;
  run.recorder->record("avg_pool", out, {}, [=](Gradients& gradients) {
    const Tensor d_out = gradients.of(out);
    Gradients::Place place = gradients.place(x);
    const float* d = d_out.data<float>();
    float* d_x = place.gradient.mutable_data<float>();
    const float share = 1 / static_cast<float>(w.taps());
    parallel_ranges(planes, grain, [&](int64_t begin, int64_t end, int) {
      if (!place.accumulate) std::fill(d_x + begin * w.inputs(), d_x + end * w.inputs(), 0.0F);
      for (int64_t plane = begin; plane < end; ++plane) {
        for_each_window(w, [&](int64_t at, Range rows, Range columns) {
          const float part = share * d[plane * w.outputs() + at];
          for (int64_t y = rows.begin; y < rows.end; ++y) {
            for (int64_t c = columns.begin; c < columns.end; ++c) d_x[plane * w.inputs() + y * w.size[1] + c] += part;
          }
        });
      }
    });
  });
}

}  // namespace

Shape convolved_shape(const Tensor& x, const Tensor& weight, const Convolution& how) {
  const ConvolutionShape shape = shape_of(x, weight, how);
  return {shape.batch, weight.size(0), shape.windows.outputs(0), shape.windows.outputs(1)};
}

void conv(Run& run, const Tensor& x, const Tensor& weight, const Tensor& bias, const Convolution& how, Tensor& out) {
  const ConvolutionShape shape = shape_of(x, weight, how);
  check_ranges("convolution", x, out, convolved_shape(x, weight, how));
  if (!weight.is_contiguous() || (bias.defined() && (bias.shape() != Shape{weight.size(0)} || !bias.is_contiguous()))) {
    fail(ErrorCode::kShape, "convolution: the weight is {}, the bias {}; expected a contiguous weight and a bias of [{}]",
         to_string(weight.shape()), to_string(bias.shape()), weight.size(0));
  }
  if (x.numel() == 0) return;
  backend().dense.convolution(
      {shape, x.data<float>(), weight.data<float>(), bias.defined() ? bias.data<float>() : nullptr, out.mutable_data<float>()});
  if (!run.records({&x, &weight, &bias})) return;
  run.recorder->record("convolution", out, {x, weight}, [=](Gradients& gradients) {
    const Tensor d_out = gradients.of(out);
    ConvolutionGradientCall back{.shape = shape, .x = x.data<float>(), .weight = weight.data<float>(), .d_out = d_out.data<float>()};
    if (gradients.wants(x)) {
      Gradients::Place to = gradients.place(x);
      back.d_x = to.gradient.mutable_data<float>();
      back.accumulate = to.accumulate;
    }
    if (gradients.wants(weight)) back.d_weight = gradients.of(weight).mutable_data<float>();
    if (back.d_x || back.d_weight) backend().gradients.convolution(back);
    if (!bias.defined() || !gradients.wants(bias)) return;
    Tensor sums = gradients.of(bias).reshape({1, out.size(1), 1, 1}).expand(out.shape());
    add_strided(d_out, sums, true);
  });
}

Shape pooled_shape(const Tensor& x, const PoolWindow& window) {
  const WindowShape windows = windows_of(x, window);
  return {x.size(0), x.size(1), windows.outputs(0), windows.outputs(1)};
}

void max_pool(Run& run, const Tensor& x, const PoolWindow& window, Tensor& out) {
  check_ranges("pooling", x, out, pooled_shape(x, window));
  largest(run, x, windows_of(x, window), out);
}

void avg_pool(Run& run, const Tensor& x, const PoolWindow& window, Tensor& out) {
  check_ranges("pooling", x, out, pooled_shape(x, window));
  mean(run, x, windows_of(x, window), out);
}

}  // namespace clearhead::ops
