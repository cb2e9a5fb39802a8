// Linear layers that multiply integers: WeightStorage::kInt8Dynamic.
//
//   out[r, o] = s_r·s_o·Σ_i q_ri·w_oi + bias_o      q_ri = round(x_ri·127/max|x_r|), s_r = max|x_r|/127;  w and s_o alike
//
// The instruction (VPDPBUSD) multiplies unsigned by signed bytes, so inputs are stored as q + 128, and 128·Σ_i w_oi is
// subtracted from each sum. Sums of integers are exact, so bits depend on neither threads nor neighbouring rows. Machines
// without the instruction multiply the same rounded numbers in f32, through int8 weights that are widened (narrow.h).
#pragma once

#include <cstdint>
#include <memory>

#include "backends/dense.h"
#include "clearhead/record.h"

namespace clearhead::cpu {

/// Scales, offsets and bias that turn the integer sums of one row into f32 outputs. Each array begins at the first output
/// of the tile.
struct ByteScales {
  float row = 0;                     // s_r; NaN if the row is not finite
  const float* outputs = nullptr;    // s_o
  const int32_t* offsets = nullptr;  // 128·Σ_i w_oi
  const float* bias = nullptr;       // or null
};

struct ByteKernels {
  // to[i] = q_i + 128 for a row x [in]. Returns s_r.
  float (*round)(const float* x, int64_t in, uint8_t* to) = nullptr;
  // to[i] = s_r·q_i: the same numbers in f32.
  void (*round_wide)(const float* x, int64_t in, float* to) = nullptr;
  // out = scaled sums (+ out, if `accumulate`).
  void (*scale)(const int32_t* sums, int64_t count, const ByteScales& scales, bool accumulate, float* out) = nullptr;
};
const ByteKernels& byte_kernels(InstructionSet isa);

std::shared_ptr<const PreparedWeight> prepare_bytes(InstructionSet isa, const WeightPart* parts, int64_t count);
void linear_bytes(InstructionSet isa, const LinearCall& call);

}  // namespace clearhead::cpu
