// The reference backend: the formulas of docs/spec.md as plain loops in double. It is slow; other backends are tested
// against it.
#pragma once

#include "backends/backend.h"

namespace clearhead {

const Backend& ref_backend();

}  // namespace clearhead
