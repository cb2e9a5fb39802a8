// The dense half of the reference: obvious loops, sums in double.
#pragma once

#include "backends/dense.h"
#include "backends/dense_gradients.h"

namespace clearhead {

const DenseOps& ref_dense_ops();
const DenseGradients& ref_dense_gradients();

namespace reference {
double activated(Activation activation, double x);
}  // namespace reference

}  // namespace clearhead
