// The reference: the formulas of docs/spec.md as obvious loops in double. Nothing is fast here; everything else is measured against it.
#pragma once

#include "backends/contract.h"

namespace clearhead {

const Backend& ref_backend();

}  // namespace clearhead
