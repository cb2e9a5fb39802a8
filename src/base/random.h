// Counter-based random numbers: number n of a seed is a function of both, the same on every machine, in any order and on
// any thread.
//
// The bits are splitmix64's finaliser (Steele, Lea & Flood 2014), applied twice to the counter, with the seed mixed in
// between.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace clearhead {

inline uint64_t mix_bits(uint64_t z) {
  z += 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

inline uint64_t random_bits(uint64_t seed, uint64_t counter) {
  return mix_bits(mix_bits(seed) ^ mix_bits(counter + 0x6A09E667F3BCC909ULL));
}

/// Uniform in [0, 1), a multiple of 2⁻⁵³.
inline double random_unit(uint64_t seed, uint64_t counter) { return static_cast<double>(random_bits(seed, counter) >> 11) * 0x1p-53; }

/// Standard normal (Box & Muller 1958), from numbers 2·counter and 2·counter + 1.
inline double random_normal(uint64_t seed, uint64_t counter) {
  const double radius = std::sqrt(-2 * std::log(1 - random_unit(seed, 2 * counter)));
  return radius * std::cos(2 * M_PI * random_unit(seed, 2 * counter + 1));
}

/// The index i that is drawn with probability p_i: the first at which p_0 + … + p_i exceeds `unit`, a number in [0, 1).
inline size_t random_index(const std::vector<double>& probabilities, double unit) {
  size_t at = 0;
  for (; at + 1 < probabilities.size() && unit >= probabilities[at]; ++at) unit -= probabilities[at];
  return at;
}

/// The random numbers of one seed, in order.
class RandomSequence {
 public:
  explicit RandomSequence(uint64_t seed) : seed_(seed) {}
  /// A uniform integer in 0 … sides − 1 (relative modulo bias below sides/2⁶⁴).
  size_t roll(size_t sides) { return static_cast<size_t>(random_bits(seed_, counter_++) % sides); }
  template <class Sequence>
  void shuffle(Sequence& values) {
    for (size_t at = values.size(); at > 1; --at) std::swap(values[at - 1], values[roll(at)]);
  }

 private:
  uint64_t seed_ = 0, counter_ = 0;
};

}  // namespace clearhead
