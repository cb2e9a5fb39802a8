// Two-dimensional convolution: shapes of sliding windows, the forward call and its gradients.
//
// Buffers are f32; planes [height, width] are row-major and contiguous. A tap is one position in the kernel. Along each
// axis, output o reads at tap t the input o·stride + t·dilation − padding, or nothing if that lies outside. Results
// have the same bits for any number of threads.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "clearhead/look.h"

namespace clearhead {

/// The shape of a sliding window. Arrays are [height, width].
struct WindowShape {
  std::array<int64_t, 2> size{}, kernel{1, 1}, stride{1, 1}, padding{0, 0}, dilation{1, 1};

  int64_t outputs(size_t axis) const {
    return (size[axis] + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis] + 1;
  }
  int64_t offset(size_t axis, int64_t tap) const { return tap * dilation[axis] - padding[axis]; }
  /// The range of outputs for which this tap reads inside the plane.
  Range inside(size_t axis, int64_t tap) const {
    const int64_t from = offset(axis, tap), step = stride[axis];
    const int64_t begin = std::max<int64_t>(0, (step - 1 - from) / step);
    return {begin, std::max(begin, std::min(outputs(axis), (size[axis] - from + step - 1) / step))};
  }
  int64_t inputs() const { return size[0] * size[1]; }
  int64_t outputs() const { return outputs(0) * outputs(1); }
  int64_t taps() const { return kernel[0] * kernel[1]; }
};

struct ConvolutionShape {
  WindowShape windows{};
  int64_t batch = 0, groups = 1, in = 0, out = 0;  // in, out: channels of one group
  int64_t inner() const { return in * windows.taps(); }
};

/// out[n, o, p] = bias[o] + Σ_c Σ_t weight[o, c, t]·x[n, c, the input that p reads at tap t], over the channels c of o's
/// group. p is an output position; inputs outside the plane count as 0.
struct ConvolutionCall {
  ConvolutionShape shape{};
  const float* x = nullptr;       // [batch, groups·in, height, width]
  const float* weight = nullptr;  // [groups·out, in, kernel height, kernel width]
  const float* bias = nullptr;    // [groups·out] or null
  float* out = nullptr;           // [batch, groups·out, output height, output width]
};

/// d_x (+)= Σ_o Σ_t weight·d_out,  d_weight += Σ_n Σ_p d_out·x.  "(+)=" means += if `accumulate`, else =.
struct ConvolutionGradientCall {
  ConvolutionShape shape{};
  const float* x = nullptr;
  const float* weight = nullptr;
  const float* d_out = nullptr;
  float* d_x = nullptr;  // null: not wanted
  bool accumulate = false;
  float* d_weight = nullptr;  // null: not wanted
};

}  // namespace clearhead
