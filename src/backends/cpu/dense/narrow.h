// Linear layers whose weights are kept in 16 or 8 bits: decode reads every weight once, so fewer bytes are more tokens.
//
//   bf16   panels [out / 64][padded_in / 2][64][2], where the machine multiplies bf16: what oneDNN's kernels read (WeightLayout)
//          else rows [out][padded_in]
//   int8   rows [out][padded_in], and a scale per output
//
// A row or a panel of weights is one stream (docs/measurements/tried.md: several lose). Few inputs: weights are widened in registers, or
// once in cache, for all of them. Many: pieces of the weight are widened and multiplied by oneDNN; or, of inputs in bf16, the weight as it
// is stored. All of them compute with the same values of the weights.
#pragma once

#include <cstdint>

#include "backends/dense.h"
#include "clearhead/record.h"

namespace clearhead::cpu {

inline constexpr int64_t kNarrowStep = 128;  // inputs of rows are padded to this, with zeros

struct NarrowRows {
  WeightStorage storage{};
  const uint8_t* weights = nullptr;  // of output 0
  const float* scales = nullptr;     // [out]; null for bf16
  int64_t padded_in = 0;
  const float* x = nullptr;  // [rows][padded_in], zeros where padded, arranged by `arrange` when there is one row
  int64_t rows = 0;
};

// One panel of bf16: [pairs of inputs][width][2].
struct NarrowPanel {
  const uint8_t* weights = nullptr;
  int64_t width = 0, pairs = 0;
};

struct NarrowKernels {
  // x [in] → to [padded_in], in the order that `sums` of one row reads.
  void (*arrange)(WeightStorage storage, const float* x, int64_t in, int64_t padded_in, float* to) = nullptr;
  // sums[r·sums_stride + (o − begin)] for outputs [begin, end).
  void (*sums)(const NarrowRows& product, int64_t begin, int64_t end, float* sums, int64_t sums_stride) = nullptr;
  // The f32 weights of one output, in order.   to: [padded_in]
  void (*widen)(const NarrowRows& product, int64_t output, float* to) = nullptr;
  // The same of a panel: sums[r·width + o] of its `width` outputs; and its weights as a panel of f32.   to: [2·pairs][width]
  void (*panel_sums)(const NarrowPanel& panel, const float* x, int64_t x_stride, int64_t rows, float* sums) = nullptr;
  void (*widen_panel)(const NarrowPanel& panel, float* to) = nullptr;
};
const NarrowKernels& narrow_kernels(InstructionSet isa);

std::shared_ptr<const PreparedWeight> prepare_narrow(InstructionSet isa, const WeightPart* parts, int64_t count, WeightStorage storage);
void linear_narrow(InstructionSet isa, const LinearCall& call);

}  // namespace clearhead::cpu
