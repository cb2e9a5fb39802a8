// Weights about the diagonal: a map whose rows are queries and whose columns are key − query.
//
//   cell (r, c) = max and mean of P_ij over queries i of row cell r and offsets j − i of column cell c
//
// A window of 256 over 100,000 tokens is a line a pixel wide in a map of queries × keys; here it is a band to read. Costs O(queries · offsets).
#pragma once

#include <cstdint>
#include <vector>

#include "clearhead/trace.h"

namespace clearhead {

struct NearRequest {
  Range queries{};
  Range offsets{};       ///< key − query, [begin, end)
  int64_t row_side = 1;  ///< a cell covers so many queries and offsets, fewer at the ends
  int64_t column_side = 1;
  std::vector<float> key_factors{};  ///< [key of the map], as of TileRequest; or empty
  std::vector<float> row_factors{};  ///< [queries.size()]; or empty
};

struct NearCells {
  int64_t rows = 0, columns = 0;
  std::vector<float> max{}, mean{};  ///< [rows, columns]; NaN where there is no visible pair, −1 never scored
  bool exact = true;
  int64_t rows_looked_at = 0;
};

/// options.sampled_rows > 0: of about so many queries, some of each row cell. Throws kInvalidArgument for ranges outside the map or empty ones,
/// as LayerMap::tile where rows were not kept.
NearCells near_cells(const LayerMap& map, int64_t head, const NearRequest& request, const LookOptions& options = {});

}  // namespace clearhead
