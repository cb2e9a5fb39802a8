// The dense half of the reference: obvious loops, sums in double.
#pragma once

#include "backends/dense.h"

namespace clearhead {

const DenseOps& ref_dense_ops();

}  // namespace clearhead
