// Builds a record with rows as queries and columns as keys. The backend in use computes its scores.
#include "ops/row_products.h"

#include <numeric>
#include <vector>

#include "backends/registry.h"

namespace clearhead {

RowProducts::RowProducts(const Tensor& x, const Tensor& w, double scale) {
  const int64_t width = w.size(1), rows = x.numel() / width;
  const Tensor unread = Tensor::zeros({1, 1, 1}).expand({1, 1, rows});  // row statistics, which scores do not use
  record_.spec.score = Dot{static_cast<float>(scale)};
  record_.q = x.reshape({1, 1, rows, width});
  record_.keys = w.contiguous().reshape({1, 1, w.size(0), width});
  record_.rows = {.m = unread, .l = unread};
  record_.query_length = rows;
}

void RowProducts::take(int64_t first, int64_t some, float* to) const {
  std::vector<int64_t> rows(static_cast<size_t>(some));
  std::iota(rows.begin(), rows.end(), first);
  const int64_t count = std::get<Tensor>(record_.keys).size(2);
  backend().weights({.record = record_,
                     .rows = rows.data(),
                     .row_count = some,
                     .keys = {0, count},
                     .quantity = WeightsCall::Quantity::kScore2,
                     .out = to,
                     .out_stride = count});
}

}  // namespace clearhead
