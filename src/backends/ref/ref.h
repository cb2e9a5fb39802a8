// The reference backend: the formulas of docs/spec.md as plain loops in double. It is not fast;
// everything else is measured against it.
#pragma once

#include "backends/contract.h"

namespace clearhead {

const Backend& ref_backend();

}  // namespace clearhead
