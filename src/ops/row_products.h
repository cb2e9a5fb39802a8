// Products of rows with a few columns, for what must not depend on the rows beside: features and hashes.
//
// They are taken as scores, rows meeting columns as queries meet keys: one chain a product, the same bits in any company. oneDNN's products do not promise that.
#pragma once

#include "clearhead/record.h"

namespace clearhead {

class RowProducts {
 public:
  /// x: f32 […, width], contiguous, width above 0; w: f32 [count, width], any strides.
  RowProducts(const Tensor& x, const Tensor& w, double scale);
  int64_t rows() const { return record_.query_length; }
  /// to[row][count] = scale·log₂e·x·w of rows [first, first + some). What is below −1e30 counts as hidden: −∞. Thread-safe.
  void take(int64_t first, int64_t some, float* to) const;

 private:
  AttentionRecord record_;
};

}  // namespace clearhead
