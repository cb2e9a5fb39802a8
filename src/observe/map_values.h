// The values of a map, computed block by block: weights, gradients of weights, or products of both. GradientMap and the
// products of a whole map with a vector are built on them.
#pragma once

#include "clearhead/map.h"

namespace clearhead {

constexpr int64_t kBlockRows = 96;    // rows per block: two query tiles of the fast kernel
constexpr int64_t kBlockKeys = 2048;  // with 96 rows: 768 KB of values, and the same amount of gradients

/// Selects the values of one head.
struct MapValues {
  const AttentionRecord& record;
  const OutputGradient* gradient = nullptr;  // null: weights
  GradientLook look = GradientLook::kProduct;
  bool is_after = true;
  LookPrecision precision = LookPrecision::kExact;
  int64_t batch = 0, head = 0;

  /// Writes the values of these rows of the record to out: [row_count, keys.size()]. Hidden pairs are 0, or NaN if `marks_hidden`. Must
  /// not be called inside parallel_for.
  void fill(const int64_t* rows, int64_t row_count, Range keys, float* out, bool marks_hidden = false) const;
};

/// M·r and rᵀM for the map M of every head, as in AttentionMap and GradientMap.   r: f32 [batch, key] or [batch, row]
Tensor times(const MapValues& values, const Tensor& r, const LookOptions& options);
Tensor transposed_times(const MapValues& values, const Tensor& r, const LookOptions& options);
/// Throws kShape unless r is f32 [batch, length].
void check_vector(const Tensor& r, int64_t batch, int64_t length, const char* what);

}  // namespace clearhead
