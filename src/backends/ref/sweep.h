// Statistics of whole attention maps, one row at a time, in double.
#pragma once

#include "backends/contract.h"

namespace clearhead::reference {

ReductionResult sweep(const SweepCall& call);

}  // namespace clearhead::reference
