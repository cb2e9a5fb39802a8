// Linear layers whose weights are kept in 16 or 8 bits: decode reads every weight once, so fewer bytes are more tokens.
//
//   bf16   [out][padded_in] of 16 bits                      int8   [out][padded_in] of 8 bits, and a scale per output
//
// One row of weights is one stream (docs/performance.md: several lose). Few inputs: each row of weights is widened once, in cache, for all of them. Many: pieces of
// the weight are widened and multiplied by oneDNN; or, of inputs in bf16, the weight as it is stored. All of them compute with the same values of the weights.
#pragma once

#include <cstdint>

#include "backends/dense.h"
#include "clearhead/record.h"

namespace clearhead::cpu {

inline constexpr int64_t kNarrowStep = 128;  // inputs are padded to this, with zeros

struct NarrowRows {
  WeightStorage storage{};
  const uint8_t* weights = nullptr;  // of output 0
  const float* scales = nullptr;     // [out]; null for bf16
  int64_t padded_in = 0;
  const float* x = nullptr;  // [rows][padded_in], zeros where padded, arranged by `arrange` when there is one row
  int64_t rows = 0;
};

struct NarrowKernels {
  // x [in] → to [padded_in], in the order that `sums` of one row reads.
  void (*arrange)(WeightStorage storage, const float* x, int64_t in, int64_t padded_in, float* to) = nullptr;
  // sums[r·sums_stride + (o − begin)] for outputs [begin, end).
  void (*sums)(const NarrowRows& product, int64_t begin, int64_t end, float* sums, int64_t sums_stride) = nullptr;
  // The f32 weights of one output, in order.   to: [padded_in]
  void (*widen)(const NarrowRows& product, int64_t output, float* to) = nullptr;
};
const NarrowKernels& narrow_kernels(InstructionSet isa);

std::shared_ptr<const PreparedWeight> prepare_narrow(const WeightPart* parts, int64_t count, WeightStorage storage);
void linear_narrow(InstructionSet isa, const LinearCall& call);

}  // namespace clearhead::cpu
