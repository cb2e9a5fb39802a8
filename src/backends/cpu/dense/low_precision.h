// Linear layers with weights in bf16 or int8. Decoding reads every weight once per token, so fewer bytes mean more tokens
// per second.
//
//   bf16   panels [out / 64][padded_in / 2][64][2] if the machine multiplies bf16, in oneDNN's layout (WeightLayout);
//          else rows [out][padded_in]
//   int8   rows [out][padded_in], and one scale per output
//
// A row or a panel of weights is read as one stream; several streams are slower (docs/measurements/tried.md). For few
// input rows, weights are widened in registers, or once in cache for all input rows. For many input rows, pieces of the
// weight are widened and multiplied by oneDNN; bf16 inputs may be multiplied by the weight as stored. All these paths
// compute with the same values of the weights.
#pragma once

#include <cstdint>

#include "backends/dense.h"
#include "clearhead/record.h"

namespace clearhead::cpu {

inline constexpr int64_t kLowPrecisionStep = 128;  // the inputs of a row are padded with zeros to a multiple of this

struct LowPrecisionRows {
  WeightStorage storage{};
  const uint8_t* weights = nullptr;  // beginning at output 0
  const float* scales = nullptr;     // [out]; null for bf16
  int64_t padded_in = 0;
  // [rows][padded_in], zeros where padded. If there is only one row, its elements are in the order of `arrange`.
  const float* x = nullptr;
  int64_t rows = 0;
};

// One panel of bf16: [pair of inputs][width][2].
struct LowPrecisionPanel {
  const uint8_t* weights = nullptr;
  int64_t width = 0, pairs = 0;
};

struct LowPrecisionKernels {
  // Copies x [in] to `to` [padded_in], in the order in which `sums` reads a single row.
  void (*arrange)(WeightStorage storage, const float* x, int64_t in, int64_t padded_in, float* to) = nullptr;
  // Computes sums[r·sums_stride + (o − begin)] for outputs [begin, end).
  void (*sums)(const LowPrecisionRows& product, int64_t begin, int64_t end, float* sums, int64_t sums_stride) = nullptr;
  // Widens the weights of one output to f32, in input order. to: [padded_in].
  void (*widen)(const LowPrecisionRows& product, int64_t output, float* to) = nullptr;
  // For a panel: panel_sums computes sums[r·width + o] of its `width` outputs; widen_panel writes its weights in f32,
  // to: [2·pairs][width].
  void (*panel_sums)(const LowPrecisionPanel& panel, const float* x, int64_t x_stride, int64_t rows, float* sums) = nullptr;
  void (*widen_panel)(const LowPrecisionPanel& panel, float* to) = nullptr;
};
const LowPrecisionKernels& low_precision_kernels(InstructionSet isa);

std::shared_ptr<const PreparedWeight> prepare_low_precision(InstructionSet isa, const WeightPart* parts, int64_t count,
                                                            WeightStorage storage);
void linear_low_precision(InstructionSet isa, const LinearCall& call);

}  // namespace clearhead::cpu
