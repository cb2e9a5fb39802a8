// The Hungarian method by shortest augmenting paths (Jonker & Volgenant 1987).
//
// Invariant: row_price[i] + column_price[j] ≤ cost[i, j] for all pairs, with equality for assigned pairs. Each row in turn is assigned along
// the path with the smallest reduced cost, cost[i, j] − row_price[i] − column_price[j], from that row to a free column (Dijkstra). Column
// `columns` is a virtual one, at which the path starts.
#include "metrics/assignment.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead::metrics {

std::vector<int64_t> assign(std::span<const double> cost, int64_t rows, int64_t columns) {
  if (rows < 0 || columns < rows || static_cast<int64_t>(cost.size()) != rows * columns)
    fail(ErrorCode::kInvalidArgument, "assign: {} costs for {} rows and {} columns; expected rows · columns costs and rows <= columns",
         cost.size(), rows, columns);
  if (!std::all_of(cost.begin(), cost.end(), [](double one) { return std::isfinite(one); }))
    fail(ErrorCode::kInvalidArgument, "assign: a cost is NaN or infinite");
  const auto count = static_cast<size_t>(columns);
  std::vector<double> row_price(static_cast<size_t>(rows), 0), column_price(count + 1, 0);
  std::vector<int64_t> row_of(count + 1, -1);
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<double> distance(count, std::numeric_limits<double>::infinity());
    std::vector<size_t> before(count, count);
    std::vector<bool> is_reached(count + 1, false);
    size_t at = count;
    row_of[at] = row;
    while (row_of[at] >= 0) {
      is_reached[at] = true;
      const int64_t from = row_of[at];
      double shortest = std::numeric_limits<double>::infinity();
      size_t next = count;
      for (size_t column = 0; column < count; ++column) {
        if (is_reached[column]) continue;
        const double reduced =
            cost[static_cast<size_t>(from) * count + column] - row_price[static_cast<size_t>(from)] - column_price[column];
        if (reduced < distance[column]) {
          distance[column] = reduced;
          before[column] = at;
        }
        if (distance[column] < shortest) {
          shortest = distance[column];
          next = column;
        }
      }
      for (size_t column = 0; column <= count; ++column) {
        if (is_reached[column]) {
          row_price[static_cast<size_t>(row_of[column])] += shortest;
          column_price[column] -= shortest;
        } else if (column < count) {
          distance[column] -= shortest;
        }
      }
      at = next;
    }
    while (at != count) {
      row_of[at] = row_of[before[at]];
      at = before[at];
    }
    row_of[count] = -1;
  }
  std::vector<int64_t> out(static_cast<size_t>(rows), -1);
  for (size_t column = 0; column < count; ++column) {
    if (row_of[column] >= 0) out[static_cast<size_t>(row_of[column])] = static_cast<int64_t>(column);
  }
  return out;
}

}  // namespace clearhead::metrics
