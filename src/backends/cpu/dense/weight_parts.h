// Reads the parts of a weight, as stored in a file, in f32: by element or by output.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "backends/dense.h"
#include "base/format.h"

namespace clearhead::cpu {

// A view of one part, with any strides and dtype. at(o, i) returns element (output, input).
struct PartView {
  const std::byte* first = nullptr;
  int64_t out_stride = 0, in_stride = 0, out = 0;
  DType dtype = DType::kF32;

  float at(int64_t o, int64_t i) const {
    const int64_t element = o * out_stride + i * in_stride;
    if (dtype == DType::kF32) return reinterpret_cast<const float*>(first)[element];
    const uint16_t bits = reinterpret_cast<const uint16_t*>(first)[element];
    return dtype == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
  }
};

inline std::vector<PartView> views_of(const WeightPart* parts, int64_t count, int64_t& in, int64_t& out) {
  std::vector<PartView> views;
  for (int64_t part = 0; part < count; ++part) {
    const Tensor stored = parts[part].input_first ? parts[part].values.permute({1, 0}) : parts[part].values;
    if (stored.rank() != 2 || (part > 0 && stored.size(1) != in)) {
      fail(ErrorCode::kShape, "linear: part {} has shape {}; all parts of a weight must have the same number of inputs", part,
           to_string(stored.shape()));
    }
    in = stored.size(1);
    out += stored.size(0);
    views.push_back({stored.raw(), stored.stride(0), stored.stride(1), stored.size(0), stored.dtype()});
  }
  return views;
}

// Copies the f32 values of output o, inputs [0, in), to to[i·step].
inline void copy_output(const PartView& part, int64_t o, int64_t in, float* to, int64_t step) {
  if (part.dtype == DType::kF32) {
    const float* from = reinterpret_cast<const float*>(part.first) + o * part.out_stride;
    for (int64_t i = 0; i < in; ++i) to[i * step] = from[i * part.in_stride];
    return;
  }
  for (int64_t i = 0; i < in; ++i) to[i * step] = part.at(o, i);
}

// Returns the scale of one output's int8 weights, max|w|/127. It is NaN if a weight is not finite, so that the output is
// NaN too. If the magnitudes of all weights are below 2⁻¹⁰⁰, they are treated as zero: the scale could be subnormal, and w/scale
// might not fit in 8 bits.
inline float int8_step(const std::vector<float>& row) {
  float largest = 0;
  for (const float w : row) {
    if (!std::isfinite(w)) return std::numeric_limits<float>::quiet_NaN();
    largest = std::max(largest, std::abs(w));
  }
  return largest < 0x1p-100F ? 0 : largest / 127;
}

}  // namespace clearhead::cpu
