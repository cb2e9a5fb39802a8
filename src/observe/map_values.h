// The numbers of a map, block by block: weights, gradients of weights, or both multiplied. What products of whole maps and
// looks at gradients are made of.
#pragma once

#include "clearhead/map.h"

namespace clearhead {

constexpr int64_t kBlockRows = 96;    // looked at together: two query tiles of the fast kernel
constexpr int64_t kBlockKeys = 2048;  // with 96 rows: 768 KB of values, and as many of gradients

/// Which numbers of which head.
struct MapValues {
  const AttentionRecord& record;
  const OutputGradient* gradient = nullptr;  // null: weights
  GradientLook look = GradientLook::kProduct;
  bool is_after = true;
  LookPrecision precision = LookPrecision::kExact;
  int64_t batch = 0, head = 0;

  /// out [row_count, keys.size()]; 0, or NaN if `marks_hidden`, for hidden pairs. Not inside parallel_for.
  void fill(const int64_t* rows, int64_t row_count, Range keys, float* out, bool marks_hidden = false) const;
};

/// M·r and rᵀM of every head; those of AttentionMap and GradientMap.   r: f32 [batch, key] or [batch, row]
Tensor times(const MapValues& values, const Tensor& r, const LookOptions& options);
Tensor transposed_times(const MapValues& values, const Tensor& r, const LookOptions& options);
/// Throws kShape unless r is f32 [batch, length].
void check_vector(const Tensor& r, int64_t batch, int64_t length, const char* what);

}  // namespace clearhead
