// Products of rows with a few columns, for results that must not depend on neighbouring rows: features and hashes.
//
// They are computed as attention scores, with rows as queries and columns as keys. Each product is one chain of
// multiply-adds, so it has the same bits whatever other products are computed. oneDNN's products do not guarantee that.
#pragma once

#include "clearhead/record.h"

namespace clearhead {

class RowProducts {
 public:
  /// x: f32 […, width], contiguous, width > 0; w: f32 [count, width], any strides.
  RowProducts(const Tensor& x, const Tensor& w, double scale);
  int64_t rows() const { return record_.query_length; }
  /// Writes scale·log₂e·x·wᵀ for the rows [first, first + some) to `to`, [some, count]. A product below −2e30 (in units of log₂) counts as
  /// hidden and gives −∞. Thread-safe.
  void take(int64_t first, int64_t some, float* to) const;

 private:
  AttentionRecord record_;
};

}  // namespace clearhead
