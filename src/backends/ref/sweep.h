// Statistics of whole attention maps, one row at a time, in double.
#pragma once

#include "backends/backend.h"

namespace clearhead::reference {

ReductionResult sweep(const SweepCall& call);

}  // namespace clearhead::reference
