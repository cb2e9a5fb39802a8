// Computes rows [cos ωp, sin ωp, …] for given frequencies, and the constant table of SinusoidalPositions, whose first half are the sines
// and whose second half are the cosines of p / 10000^(2i/width).
#include "models/phases.h"

#include <cmath>

namespace clearhead {

Tensor phase_rows(const std::vector<double>& frequencies, const std::vector<int32_t>& positions) {
  const auto rows = static_cast<int64_t>(positions.size()), pairs = static_cast<int64_t>(frequencies.size());
  Tensor out = Tensor::empty({rows, 2 * pairs});
  auto* at = out.mutable_data<float>();
  for (const int32_t position : positions) {
    for (const double frequency : frequencies) {
      const double angle = frequency * position;
      *at++ = static_cast<float>(std::cos(angle));
      *at++ = static_cast<float>(std::sin(angle));
    }
  }
  return out;
}

Tensor sinusoidal_table(int64_t positions, int64_t width) {
  Tensor out = Tensor::empty({positions, width});
  auto* at = out.mutable_data<float>();
  const int64_t sines = (width + 1) / 2;
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t c = 0; c < width; ++c) {
      const int64_t i = c < sines ? c : c - sines;
      const double angle = static_cast<double>(p) / std::pow(10000.0, 2 * static_cast<double>(i) / static_cast<double>(width));
      *at++ = static_cast<float>(c < sines ? std::sin(angle) : std::cos(angle));
    }
  }
  return out;
}

}  // namespace clearhead
