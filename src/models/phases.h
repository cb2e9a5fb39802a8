// Positions that a formula computes (architecture.h): the rows of PhasePositions, [cos ω₀p, sin ω₀p, cos ω₁p, sin ω₁p, …], and
// the table of SinusoidalPositions.
#pragma once

#include <cstdint>
#include <vector>

#include "clearhead/tensor.h"

namespace clearhead {

/// f32 [positions, 2·frequencies]. Angles are computed in double: the error of an entry is about half a unit in the last place of f32,
/// plus at most 2⁻⁵³ times its angle.
Tensor phase_rows(const std::vector<double>& frequencies, const std::vector<int32_t>& positions);

/// f32 [positions, width]: [sin ω₀p, sin ω₁p, … | cos ω₀p, …], with one more sine if the width is odd.
Tensor sinusoidal_table(int64_t positions, int64_t width);

}  // namespace clearhead
