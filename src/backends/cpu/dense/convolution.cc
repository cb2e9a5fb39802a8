// Convolutions as dense products over unfolded windows (im2col).
//
//   out [out, positions] = W [out, in·taps] · U [in·taps, positions]     U: the input that each tap reads, unfolded in
//                                                                        blocks of at most 4 MiB, never as a whole
//   d_W += d_out · Uᵀ        d_U = Wᵀ · d_out, added to d_x; the taps of an element are added in a fixed order
//
// oneDNN's convolutions are not used for two reasons. Planes are row-major here, for which its AVX2 kernels unfold too
// (its direct kernels need channels in blocks of 8 or 16, so both operands would be reordered around every call). And its
// weight gradient splits images between threads, so its bits would depend on their number. The products used here are
// split by shape alone (dnnl.cc), and images are processed in order, so the bits are always the same, forward and
// backward.
//
// A group with very few channels (depthwise) is too small for a product. Its rows are scaled and added, tap by tap.
#include "backends/convolution.h"

#include <cstring>

#include "backends/cpu/dense/dense.h"
#include "backends/cpu/dense/gradient_kernels.h"
#include "base/grain.h"
#include "base/parallel.h"

namespace clearhead::cpu {
namespace {

constexpr int64_t kMostUnfolded = int64_t{1} << 20;  // elements
// Maximum number of (input, output) channel pairs of a group for the direct path, where calling a product would cost more
// than its work.
constexpr int64_t kFewChannels = 16;

bool is_direct(const ConvolutionShape& s) { return s.groups > 1 && s.in * s.out <= kFewChannels; }

// Returns true if every position reads only itself, so that nothing needs unfolding.
bool is_pointwise(const WindowShape& w) {
  using Pair = std::array<int64_t, 2>;
  return w.kernel == Pair{1, 1} && w.stride == Pair{1, 1} && w.padding == Pair{0, 0};
}

// Calls f(y, begin, end) for each row y of outputs that overlaps `positions`; [begin, end) is the overlap.
template <class F>
void for_each_row(Range positions, int64_t width, const F& f) {
  for (int64_t at = positions.begin; at < positions.end;) {
    const int64_t y = at / width, end = std::min(positions.end, (y + 1) * width);
    f(y, at - y * width, end - y * width);
    at = end;
  }
}

struct Tap {
  int64_t channel, i, j;
};
Tap tap_of(const WindowShape& w, int64_t at) { return {at / w.taps(), at / w.kernel[1] % w.kernel[0], at % w.kernel[1]}; }

// Unfolds one group's planes x [in, height, width] into columns [in·taps][positions].
void unfold(const ConvolutionShape& s, const float* x, Range positions, float* columns) {
  const WindowShape& w = s.windows;
  parallel_ranges(s.inner(), grain_of(positions.size()), [&](int64_t first, int64_t last, int) {
    for (int64_t at = first; at < last; ++at) {
      const Tap tap = tap_of(w, at);
      const Range rows = w.inside(0, tap.i), across = w.inside(1, tap.j);
      float* to = columns + at * positions.size();
      for_each_row(positions, w.outputs(1), [&](int64_t y, int64_t begin, int64_t end) {
        const bool reads = y >= rows.begin && y < rows.end;
        const int64_t from = reads ? std::clamp(across.begin, begin, end) : end, until = reads ? std::clamp(across.end, from, end) : end;
        const float* row = x + tap.channel * w.inputs() + (y * w.stride[0] + w.offset(0, tap.i)) * w.size[1] + w.offset(1, tap.j);
        std::fill(to, to + (from - begin), 0.0F);
        if (w.stride[1] == 1) {
          std::copy(row + from, row + until, to + (from - begin));
        } else {
          for (int64_t c = from; c < until; ++c) to[c - begin] = row[c * w.stride[1]];
        }
        std::fill(to + (until - begin), to + (end - begin), 0.0F);
        to += end - begin;
      });
    }
  });
}

// The reverse of unfold: adds columns to the planes d_x, with the taps of a channel in order.
void fold(const ConvolutionShape& s, const float* columns, Range positions, float* d_x) {
  const WindowShape& w = s.windows;
  parallel_for(s.in, [&](int64_t channel, int) {
    for (int64_t at = channel * w.taps(); at < (channel + 1) * w.taps(); ++at) {
      const Tap tap = tap_of(w, at);
      const Range rows = w.inside(0, tap.i), across = w.inside(1, tap.j);
      const float* from = columns + at * positions.size();
      for_each_row(positions, w.outputs(1), [&](int64_t y, int64_t begin, int64_t end) {
        if (y >= rows.begin && y < rows.end) {
          float* row = d_x + channel * w.inputs() + (y * w.stride[0] + w.offset(0, tap.i)) * w.size[1] + w.offset(1, tap.j);
          for (int64_t c = std::max(begin, across.begin); c < std::min(end, across.end); ++c) row[c * w.stride[1]] += from[c - begin];
        }
        from += end - begin;
      });
    }
  });
}

// Calls f(image·groups + group, positions) for every product. Blocks of positions have about the same size, and none is a single
// column unless there is only one position.
template <class F>
void for_each_product(const ConvolutionShape& s, const F& f) {
  const int64_t positions = s.windows.outputs();
  const int64_t blocks = is_pointwise(s.windows)
                             ? 1
                             : std::min((positions * s.inner() + kMostUnfolded - 1) / kMostUnfolded, std::max<int64_t>(1, positions / 2));
  for (int64_t part = 0; part < s.batch * s.groups; ++part) {
    for (int64_t block = 0; block < blocks; ++block) f(part, Range{positions * block / blocks, positions * (block + 1) / blocks});
  }
}

// Returns the columns of a group's planes, unfolded into scratch if necessary.
MatrixView columns_of(const ConvolutionShape& s, const float* planes, Range positions, float* scratch) {
  if (is_pointwise(s.windows)) return {planes, s.windows.inputs(), 1};
  unfold(s, planes, positions, scratch);
  return {scratch, positions.size(), 1};
}

Tensor scratch_for(const ConvolutionShape& s) {
  int64_t most = 0;
  if (!is_pointwise(s.windows)) for_each_product(s, [&](int64_t, Range positions) { most = std::max(most, positions.size()); });
  return Tensor::empty({most * s.inner()});
}

// --- direct convolution for very few channels ----------------------------------------------------------------------

// Calls f(index in a plane's outputs, index in its inputs, count) for the rows that a tap reads. Consecutive inputs are a
// stride apart.
template <class F>
void for_each_read(const WindowShape& w, int64_t i, int64_t j, const F& f) {
  const Range rows = w.inside(0, i), across = w.inside(1, j);
  if (across.size() == 0) return;
  for (int64_t y = rows.begin; y < rows.end; ++y) {
    f(y * w.outputs(1) + across.begin, (y * w.stride[0] + w.offset(0, i)) * w.size[1] + across.begin * w.stride[1] + w.offset(1, j),
      across.size());
  }
}

// Calls f(output channel, input channel, i, j, index of the weight) for the weights of one group.
template <class F>
void for_each_weight(const ConvolutionShape& s, const F& f) {
  for (int64_t at = 0; at < s.out * s.inner(); ++at) {
    const Tap tap = tap_of(s.windows, at);
    f(at / s.inner(), tap.channel % s.in, tap.i, tap.j, at);
  }
}

void forward_direct(InstructionSet isa, const ConvolutionCall& call) {
  const ConvolutionShape& s = call.shape;
  const WindowShape& w = s.windows;
  parallel_for(s.batch * s.groups, [&](int64_t part, int) {
    const int64_t first = part % s.groups * s.out;
    const float* x = call.x + part * s.in * w.inputs();
    float* out = call.out + part * s.out * w.outputs();
    for (int64_t o = 0; o < s.out; ++o) std::fill_n(out + o * w.outputs(), w.outputs(), call.bias ? call.bias[first + o] : 0);
    for_each_weight(s, [&](int64_t o, int64_t c, int64_t i, int64_t j, int64_t at) {
      const float weight = call.weight[first * s.inner() + at];
      for_each_read(w, i, j, [&](int64_t to, int64_t from, int64_t count) {
        const float* row = x + c * w.inputs() + from;
        float* sums = out + o * w.outputs() + to;
        if (w.stride[1] == 1) return gradient_kernels(isa).add_scaled(row, weight, sums, count);
        for (int64_t n = 0; n < count; ++n) sums[n] += weight * row[n * w.stride[1]];
      });
    });
  });
}

void input_gradient_direct(InstructionSet isa, const ConvolutionGradientCall& call) {
  const ConvolutionShape& s = call.shape;
  const WindowShape& w = s.windows;
  parallel_for(s.batch * s.groups, [&](int64_t part, int) {
    const float* d_out = call.d_out + part * s.out * w.outputs();
    float* d_x = call.d_x + part * s.in * w.inputs();
    if (!call.accumulate) std::fill_n(d_x, s.in * w.inputs(), 0.0F);
    for_each_weight(s, [&](int64_t o, int64_t c, int64_t i, int64_t j, int64_t at) {
      const float weight = call.weight[part % s.groups * s.out * s.inner() + at];
      for_each_read(w, i, j, [&](int64_t from, int64_t to, int64_t count) {
        const float* row = d_out + o * w.outputs() + from;
        float* sums = d_x + c * w.inputs() + to;
        if (w.stride[1] == 1) return gradient_kernels(isa).add_scaled(row, weight, sums, count);
        for (int64_t n = 0; n < count; ++n) sums[n * w.stride[1]] += weight * row[n];
      });
    });
  });
}

double product_of(const float* a, const float* b, int64_t step, int64_t count) {
  double lanes[8] = {};  // a fixed number, so that the compiler vectorises them
  int64_t n = 0;
  for (; n + 8 <= count; n += 8) {
    for (int64_t lane = 0; lane < 8; ++lane) lanes[lane] += static_cast<double>(a[n + lane]) * static_cast<double>(b[(n + lane) * step]);
  }
  for (; n < count; ++n) lanes[0] += static_cast<double>(a[n]) * static_cast<double>(b[n * step]);
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

// One thread computes the gradient of a weight, with images in order.
void weight_gradient_direct(const ConvolutionGradientCall& call) {
  const ConvolutionShape& s = call.shape;
  const WindowShape& w = s.windows;
  parallel_for(s.groups, [&](int64_t group, int) {
    for_each_weight(s, [&](int64_t o, int64_t c, int64_t i, int64_t j, int64_t at) {
      double sum = 0;
      for (int64_t image = 0; image < s.batch; ++image) {
        const float* d_out = call.d_out + ((image * s.groups + group) * s.out + o) * w.outputs();
        const float* x = call.x + ((image * s.groups + group) * s.in + c) * w.inputs();
        for_each_read(w, i, j, [&](int64_t a, int64_t b, int64_t count) { sum += product_of(d_out + a, x + b, w.stride[1], count); });
      }
      float& to = call.d_weight[group * s.out * s.inner() + at];
      to = static_cast<float>(static_cast<double>(to) + sum);
    });
  });
}

}  // namespace

void convolution(InstructionSet isa, const ConvolutionCall& call) {
  const ConvolutionShape& s = call.shape;
  if (is_direct(s)) return forward_direct(isa, call);
  const int64_t positions = s.windows.outputs();
  Tensor scratch = scratch_for(s);
  for_each_product(s, [&](int64_t part, Range block) {
    const MatrixView columns = columns_of(s, call.x + part * s.in * s.windows.inputs(), block, scratch.mutable_data<float>());
    const int64_t first = part % s.groups * s.out;
    float* out = call.out + part * s.out * positions + block.begin;
    for (int64_t o = 0; o < s.out && call.bias; ++o) std::fill_n(out + o * positions, block.size(), call.bias[first + o]);
    dense_ops(isa).product({.a = {call.weight + first * s.inner(), s.inner(), 1},
                            .b = columns,
                            .rows = s.out,
                            .inner = s.inner(),
                            .columns = block.size(),
                            .accumulate = call.bias != nullptr,
                            .out = out,
                            .out_stride = positions});
  });
}

void convolution_gradient(InstructionSet isa, const ConvolutionGradientCall& call) {
  const ConvolutionShape& s = call.shape;
  if (is_direct(s)) {
    if (call.d_x) input_gradient_direct(isa, call);
    if (call.d_weight) weight_gradient_direct(call);
    return;
  }
  const int64_t positions = s.windows.outputs(), inputs = s.in * s.windows.inputs();
  const bool pointwise = is_pointwise(s.windows);
  if (call.d_x && !call.accumulate && !pointwise)
    std::memset(call.d_x, 0, static_cast<size_t>(s.batch * s.groups * inputs) * sizeof(float));
  Tensor scratch = scratch_for(s);
  for_each_product(s, [&](int64_t part, Range block) {
    const MatrixView d_out{call.d_out + part * s.out * positions + block.begin, positions, 1};
    const int64_t first = part % s.groups * s.out * s.inner();
    if (call.d_weight) {
      const MatrixView columns = columns_of(s, call.x + part * inputs, block, scratch.mutable_data<float>());
      dense_ops(isa).product({.a = d_out,
                              .b = columns.transposed(),
                              .rows = s.out,
                              .inner = block.size(),
                              .columns = s.inner(),
                              .accumulate = true,
                              .out = call.d_weight + first,
                              .out_stride = s.inner()});
    }
    if (!call.d_x) return;
    float* d_x = call.d_x + part * inputs;
    dense_ops(isa).product({.a = MatrixView{call.weight + first, s.inner(), 1}.transposed(),
                            .b = d_out,
                            .rows = s.inner(),
                            .inner = s.out,
                            .columns = block.size(),
                            .accumulate = pointwise && call.accumulate,
                            .out = pointwise ? d_x : scratch.mutable_data<float>(),
                            .out_stride = block.size()});
    if (!pointwise) fold(s, scratch.data<float>(), block, d_x);
  });
}

}  // namespace clearhead::cpu
