// The kernels that dense_gradients.cc calls, compiled once per instruction set. Each call computes a range of elements or
// rows on one thread.
#pragma once

#include "backends/dense_gradients.h"
#include "clearhead/record.h"

namespace clearhead::cpu {

struct GradientKernels {
  void (*activation)(const ActivationGradientCall& call, int64_t begin, int64_t end) = nullptr;  // elements
  void (*gated)(const GatedGradientCall& call, int64_t begin, int64_t end) = nullptr;            // rows
  // Rows. d_weight and d_bias of the call receive the sums over these rows only.
  void (*norm)(const NormGradientCall& call, int64_t begin, int64_t end) = nullptr;
  void (*column_sums)(const ColumnSumCall& call, int64_t begin, int64_t end) = nullptr;                // rows
  void (*add_scaled)(const float* x, float scale, float* to, int64_t count) = nullptr;                 // to += scale·x
  void (*cross_entropy)(const CrossEntropyCall& call, int64_t begin, int64_t end) = nullptr;           // rows
  void (*cross_entropy_gradient)(const CrossEntropyCall& call, int64_t begin, int64_t end) = nullptr;  // rows
  void (*adam)(const AdamCall& call, int64_t begin, int64_t end) = nullptr;                            // elements
  void (*sgd)(const SgdCall& call, int64_t begin, int64_t end) = nullptr;                              // elements
  double (*sum_of_squares)(const float* x, int64_t count) = nullptr;
  void (*softmax)(const SoftmaxCall& call, int64_t begin, int64_t end) = nullptr;                   // rows
  void (*softmax_gradient)(const SoftmaxGradientCall& call, int64_t begin, int64_t end) = nullptr;  // rows
};

const GradientKernels& gradient_kernels(InstructionSet isa);

}  // namespace clearhead::cpu
