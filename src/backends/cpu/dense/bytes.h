// Linear layers with int8 weights and inputs that are quantised dynamically (WeightStorage::kInt8Dynamic).
//
//   out[r, o] = s_r·s_o·Σ_i q_ri·w_oi + bias_o      q_ri = round(x_ri·127/max|x_r|), s_r = max|x_r|/127
//   w_oi and s_o are computed from the weights of output o in the same way.
//
// The instruction (VPDPBUSD) multiplies unsigned by signed bytes, so inputs are stored as q + 128, and 128·Σ_i w_oi is
// subtracted from each sum. Integer sums are exact, so the result depends neither on the number of threads nor on other
// rows. On machines without the instruction, and for more than kMostExactInputs inputs (dnnl.h), int8 weights are widened
// and the same rounded numbers are multiplied in f32 (low_precision.h). Older instructions for bytes (VPMADDUBSW) saturate
// at 16 bits and are never used.
//
// If a row of inputs contains a NaN or an infinity, all its outputs are NaN. If a weight is not finite, its output is NaN.
// Rows and weights whose largest magnitude is below 2⁻¹⁰⁰ are treated as zero.
#pragma once

#include <cstdint>
#include <memory>

#include "backends/dense.h"
#include "clearhead/record.h"

namespace clearhead::cpu {

/// Scales, offsets and bias that convert the integer sums of one row to f32. Each array starts at the first output of the tile.
struct ByteScales {
  float row = 0;                     // s_r; NaN if the row is not finite
  const float* outputs = nullptr;    // s_o
  const int32_t* offsets = nullptr;  // 128·Σ_i w_oi
  const float* bias = nullptr;       // null if there is none
};

struct ByteKernels {
  // Rounds a row x [in]: to[i] = q_i + 128. Returns s_r.
  float (*round)(const float* x, int64_t in, uint8_t* to) = nullptr;
  // Rounds a row x [in] to the same numbers in f32: to[i] = s_r·q_i.
  void (*round_wide)(const float* x, int64_t in, float* to) = nullptr;
  // out = s_r·s_o·(sums − offsets) + bias, or out += … with `accumulate`.
  void (*scale)(const int32_t* sums, int64_t count, const ByteScales& scales, bool accumulate, float* out) = nullptr;
};
const ByteKernels& byte_kernels(InstructionSet isa);

std::shared_ptr<const PreparedWeight> prepare_bytes(InstructionSet isa, const WeightPart* parts, int64_t count);
void linear_bytes(InstructionSet isa, const LinearCall& call);

}  // namespace clearhead::cpu
