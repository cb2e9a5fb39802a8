// The dense ops of the reference backend: plain loops with sums in double.
#pragma once

#include "backends/dense.h"
#include "backends/dense_gradients.h"

namespace clearhead {

const DenseOps& ref_dense_ops();
const DenseGradients& ref_dense_gradients();

void ref_convolution(const ConvolutionCall& call);
void ref_convolution_gradient(const ConvolutionGradientCall& call);
void ref_gates(const GateCall& call);
void ref_gates_gradient(const GateGradientCall& call);

namespace reference {
double activated(Activation activation, double x);
}  // namespace reference

}  // namespace clearhead
