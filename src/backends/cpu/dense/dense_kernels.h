// The dense kernels that do not use oneDNN, compiled once per instruction set.
#pragma once

#include "backends/cpu/dense/dnnl.h"
#include "backends/dense.h"

namespace clearhead::cpu {

struct DenseKernels {
  // out = f(x·Wᵀ + bias) (+ out) for one row x, and the outputs of panels [begin, end) or, without panels, outputs
  // [begin, end).
  void (*product)(const Product& product, int64_t begin, int64_t end) = nullptr;
  void (*norm)(const NormCall& call, int64_t begin, int64_t end) = nullptr;    // rows
  void (*gated)(const GatedCall& call, int64_t begin, int64_t end) = nullptr;  // rows
  void (*activate)(Activation activation, float* x, int64_t count) = nullptr;
};

const DenseKernels& dense_kernels(InstructionSet isa);

}  // namespace clearhead::cpu
