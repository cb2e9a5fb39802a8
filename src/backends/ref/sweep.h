// Statistics of whole maps, one row of double weights at a time.
#pragma once

#include "backends/contract.h"

namespace clearhead::reference {

ReductionResult sweep(const SweepCall& call);

}  // namespace clearhead::reference
