// The keys that a band shows to a query, and the strides of broadcast operands.
//
//   visible_band(band, p, keys) = [p − back, p + ahead] ∩ [0, keys), as [begin, end); limits near 2⁶³ do not overflow
#pragma once

#include <algorithm>
#include <cstdint>

#include "clearhead/look.h"
#include "clearhead/record.h"
#include "clearhead/spec.h"

namespace clearhead {

/// Position of query 0 among the keys; the other queries follow consecutively.
inline int64_t first_position(const Band& band, int64_t queries, int64_t keys) {
  return (band.align == Align::kEnd ? keys - queries : 0) + band.offset;
}

/// Keys that the band alone shows to a query at position p. An empty range has begin = end.
inline Range visible_band(const Band& band, int64_t position, int64_t keys) {
  constexpr int64_t kFar = int64_t{1} << 61;  // beyond any length, and sums of two do not overflow
  Range range{0, keys};
  if (band.back) range.begin = std::max<int64_t>(0, position - std::min(*band.back, kFar));
  if (band.ahead) range.end = std::min(keys, position + std::min(*band.ahead, kFar) + 1);
  range.begin = std::min(range.begin, keys);
  range.end = std::max(range.end, range.begin);
  return range;
}

/// Number of blocks that cover `length`. Sizes near 2⁶³ do not overflow.
inline int64_t blocks_of(int64_t length, int64_t block) { return length / block + (length % block != 0); }

/// Stride along an axis of an operand, in elements; zero if the axis broadcasts.
inline int64_t broadcast_stride(const Tensor& operand, int axis) { return operand.size(axis) == 1 ? 0 : operand.stride(axis); }

}  // namespace clearhead
