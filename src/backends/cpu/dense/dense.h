// The dense ops of the cpu backend and their gradients.
#pragma once

#include "backends/dense.h"
#include "backends/dense_gradients.h"
#include "clearhead/record.h"

namespace clearhead::cpu {

/// The tables of an instruction set, kAvx2 or kAvx512. This machine must have it.
const DenseOps& dense_ops(InstructionSet isa);
const DenseGradients& dense_gradients(InstructionSet isa);

void convolution(InstructionSet isa, const ConvolutionCall& call);
void convolution_gradient(InstructionSet isa, const ConvolutionGradientCall& call);

}  // namespace clearhead::cpu
