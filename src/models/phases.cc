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

}  // namespace clearhead
