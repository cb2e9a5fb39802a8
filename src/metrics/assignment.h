// The assignment problem: which column each row gets, so that the sum of the costs is smallest and no column is used twice (Kuhn 1955,
// Munkres 1957).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace clearhead::metrics {

/// Returns the column of each row. Exact; takes O(rows²·columns) operations.
/// cost: [rows, columns], row-major. Throws kInvalidArgument for more rows than columns, for a size that does not match, and for a cost
/// that is not finite.
std::vector<int64_t> assign(std::span<const double> cost, int64_t rows, int64_t columns);

}  // namespace clearhead::metrics
