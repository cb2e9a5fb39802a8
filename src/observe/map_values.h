// The numbers of a map, block by block: weights, gradients of weights, or both multiplied. What products of whole maps and
// looks at gradients are made of.
#pragma once

#include <functional>
#include <vector>

#include "clearhead/map.h"

namespace clearhead {

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

/// The keys that the band of a description shows to any of these rows of a record.
Range keys_of_rows(const AttentionRecord& record, Range rows);

/// All values of a head in blocks that fit a cache, in ascending order of rows, then of keys; keys that the band hides from
/// all rows of a block are left out.   values: [rows.size(), keys.size()]
void for_each_block(const MapValues& values, Range rows, Range keys, const LookOptions& options,
                    const std::function<void(Range rows, Range keys, const float* values)>& body);

/// M·r and rᵀM of every head; those of AttentionMap and GradientMap.   r: f32 [batch, key] or [batch, row]
Tensor times(const MapValues& values, const Tensor& r, const LookOptions& options);
Tensor transposed_times(const MapValues& values, const Tensor& r, const LookOptions& options);
/// Throws kShape unless r is f32 [batch, length].
void check_vector(const Tensor& r, int64_t batch, int64_t length, const char* what);

}  // namespace clearhead
