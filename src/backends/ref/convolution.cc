// Convolution and its gradients as plain loops with sums in double.
#include <vector>

#include "backends/ref/dense.h"
#include "base/parallel.h"

namespace clearhead {
namespace {

double wide(float x) { return static_cast<double>(x); }

// Calls f(index of the weight, index in x) for each product in output [y, x] of channel `out` of a group, in the order
// of the weights.
template <class F>
void for_each_pair(const ConvolutionShape& s, int64_t out, int64_t y, int64_t x, const F& f) {
  const WindowShape& w = s.windows;
  for (int64_t c = 0; c < s.in; ++c) {
    for (int64_t i = 0; i < w.kernel[0]; ++i) {
      for (int64_t j = 0; j < w.kernel[1]; ++j) {
        const int64_t row = y * w.stride[0] + w.offset(0, i), column = x * w.stride[1] + w.offset(1, j);
        if (row < 0 || row >= w.size[0] || column < 0 || column >= w.size[1]) continue;
        f(((out * s.in + c) * w.kernel[0] + i) * w.kernel[1] + j, c * w.inputs() + row * w.size[1] + column);
      }
    }
  }
}

}  // namespace

void ref_convolution(const ConvolutionCall& call) {
  const ConvolutionShape& s = call.shape;
  const int64_t height = s.windows.outputs(0), width = s.windows.outputs(1), channels = s.groups * s.out;
  parallel_for(s.batch * channels, [&](int64_t plane, int) {
    const int64_t group = plane % channels / s.out, channel = plane % s.out;
    const float* x = call.x + (plane / channels * s.groups + group) * s.in * s.windows.inputs();
    const float* weight = call.weight + group * s.out * s.inner();
    for (int64_t at = 0; at < height * width; ++at) {
      double sum = call.bias ? wide(call.bias[group * s.out + channel]) : 0;
      for_each_pair(s, channel, at / width, at % width, [&](int64_t w, int64_t from) { sum += wide(weight[w]) * wide(x[from]); });
      call.out[plane * height * width + at] = static_cast<float>(sum);
    }
  });
}

void ref_convolution_gradient(const ConvolutionGradientCall& call) {
  const ConvolutionShape& s = call.shape;
  const int64_t height = s.windows.outputs(0), width = s.windows.outputs(1), inputs = s.in * s.windows.inputs();
  std::vector<double> d_x(static_cast<size_t>(inputs)), d_weight(static_cast<size_t>(s.groups * s.out * s.inner()), 0);
  for (int64_t part = 0; part < s.batch * s.groups; ++part) {
    const int64_t first = part % s.groups * s.out * s.inner();
    std::fill(d_x.begin(), d_x.end(), 0.0);
    for (int64_t at = 0; at < s.out * height * width; ++at) {
      const double d = wide(call.d_out[part * s.out * height * width + at]);
      for_each_pair(s, at / (height * width), at / width % height, at % width, [&](int64_t w, int64_t from) {
        d_x[static_cast<size_t>(from)] += d * wide(call.weight[first + w]);
        d_weight[static_cast<size_t>(first + w)] += d * wide(call.x[part * inputs + from]);
      });
    }
    for (int64_t i = 0; i < inputs && call.d_x; ++i) {
      float& to = call.d_x[part * inputs + i];
      to = static_cast<float>(d_x[static_cast<size_t>(i)] + (call.accumulate ? wide(to) : 0));
    }
  }
  for (size_t w = 0; w < d_weight.size() && call.d_weight; ++w) {
    call.d_weight[w] = static_cast<float>(wide(call.d_weight[w]) + d_weight[w]);
  }
}

}  // namespace clearhead
