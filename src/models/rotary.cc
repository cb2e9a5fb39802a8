// The frequencies of rotary embeddings,  f_i = θ^(−2i/dims),  scaled for contexts that are longer than those in training.
//
//   linear   f / factor
//   llama3   with λ = 2π/f and L positions in training: f if λ < L/high; f/factor if λ > L/low; in between
//            (1 − s)·f/factor + s·f with s = (L/λ − low)/(high − low)          (Llama 3.1; as in transformers)
#include <cmath>

#include "models/transformer.h"

namespace clearhead {
namespace {

double stretched(double f, const std::monostate&) { return f; }
double stretched(double f, const RotaryPositions::Linear& linear) { return f / linear.factor; }
double stretched(double f, const RotaryPositions::Llama3& llama3) {
  const double length = static_cast<double>(llama3.original_positions), wavelength = 2 * M_PI / f;
  if (wavelength < length / llama3.high_frequency_factor) return f;
  if (wavelength > length / llama3.low_frequency_factor) return f / llama3.factor;
  const double blend = (length / wavelength - llama3.low_frequency_factor) / (llama3.high_frequency_factor - llama3.low_frequency_factor);
  return (1 - blend) * f / llama3.factor + blend * f;
}

}  // namespace

std::vector<double> rotary_frequencies(const RotaryPositions& facts, int64_t head_dim) {
  const int64_t dims = facts.dims == 0 ? head_dim : facts.dims;
  std::vector<double> frequencies = ops::rotary_frequencies(facts.theta, dims);
  for (double& f : frequencies) f = std::visit([&](const auto& scaling) { return stretched(f, scaling); }, facts.scaling);
  return frequencies;
}

}  // namespace clearhead
