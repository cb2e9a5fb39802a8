// Rows of PhasePositions: [cos ω₀p, sin ω₀p, cos ω₁p, sin ω₁p, …].
#pragma once

#include <cstdint>
#include <vector>

#include "clearhead/tensor.h"

namespace clearhead {

/// f32 [positions, 2·frequencies]; each entry is right to half a unit in the last place for positions below 2³¹.
Tensor phase_rows(const std::vector<double>& frequencies, const std::vector<int32_t>& positions);

}  // namespace clearhead
