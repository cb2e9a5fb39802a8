// Overflow-checked arithmetic on numbers from files or callers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>

namespace clearhead {

/// `unit` times the product of all sizes, or nullopt on overflow. A size of 0 counts as 1: strides are computed from all
/// sizes, so the other sizes must not overflow either.
inline std::optional<int64_t> checked_product(int64_t unit, std::span<const int64_t> sizes) {
  for (const int64_t size : sizes) {
    if (__builtin_mul_overflow(unit, std::max<int64_t>(1, size), &unit)) return std::nullopt;
  }
  return unit;
}

}  // namespace clearhead
