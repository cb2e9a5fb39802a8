// Weights near the diagonal: a map whose rows are queries and whose columns are offsets key − query.
//
//   cell (r, c) = max and mean of P_ij over queries i of row cell r and offsets j − i of column cell c
//
// In a map of queries × keys, a window of 256 over 100,000 tokens is a line one pixel wide; here it is a readable band.
// Time: O(queries · offsets).
#pragma once

#include <cstdint>
#include <vector>

#include "clearhead/trace.h"

namespace clearhead {

struct NearRequest {
  Range queries{};
  Range offsets{};                   ///< key − query, [begin, end)
  int64_t row_side = 1;              ///< queries per cell; the last cells may cover fewer
  int64_t column_side = 1;           ///< offsets per cell; the last cells may cover fewer
  std::vector<float> key_factors{};  ///< [key of the map], as in TileRequest; may be empty
  std::vector<float> row_factors{};  ///< [queries.size()]; may be empty
};

struct NearCells {
  int64_t rows = 0, columns = 0;
  std::vector<float> max{}, mean{};  ///< [rows, columns]; NaN if no pair is visible, −1 if none was scored
  bool exact = true;
  int64_t rows_looked_at = 0;
};

/// If options.sampled_rows > 0, reads about that many queries, some from each row of cells. Rows that were not kept give the
/// same cells as in LayerMap::tile. Values must not be negative: the means of a map with GradientLook::kGradient or kProduct would leave
/// its negative values out. Throws kInvalidArgument if a range is empty or if queries lie outside the map.
NearCells near_cells(const LayerMap& map, int64_t head, const NearRequest& request, const LookOptions& options = {});

}  // namespace clearhead
