// Derived numbers of a score function: its scale, and the table row of a pair's offset.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "clearhead/spec.h"

namespace clearhead {

/// The scale of Dot and Relative; 1 for Additive, which has none.
inline double scale_of(const Score& pair, int64_t d_k) {
  const Dot* dot = std::get_if<Dot>(&pair);
  const Relative* relative = std::get_if<Relative>(&pair);
  if (!dot && !relative) return 1;
  const std::optional<float>& given = dot ? dot->scale : relative->scale;
  return given ? static_cast<double>(*given) : 1 / std::sqrt(static_cast<double>(std::max<int64_t>(1, d_k)));
}

/// The largest offset that the tables of a relative score distinguish.
inline int64_t reach_of(const Relative& pair) { return (pair.keys.size(1) - 1) / 2; }
/// The row of the tables for key `key` and a query at `position`.
inline int64_t offset_row(int64_t key, int64_t position, int64_t reach) { return std::clamp(key - position, -reach, reach) + reach; }

}  // namespace clearhead
