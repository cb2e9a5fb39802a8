// What the pair of a description says in numbers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "clearhead/spec.h"

namespace clearhead {

/// The factor on q·k; 1 where the pair is no product.
inline double scale_of(const Pair& pair, int64_t d_k) {
  const Dot* dot = std::get_if<Dot>(&pair);
  if (!dot) return 1;
  return dot->scale ? static_cast<double>(*dot->scale) : 1 / std::sqrt(static_cast<double>(std::max<int64_t>(1, d_k)));
}

}  // namespace clearhead
