// The statistics of a head on a text, for the atlas and the margins of the map: scores, entropy, distance, received attention and a
// thumbnail of the map. All heads of a layer are computed in one pass.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "clearhead/atlas.h"
#include "clearhead/trace.h"
#include "viewer/family_facts.h"

namespace clearhead::viewer {

struct HeadStatistics {
  HeadScores scores{};
  std::vector<float> entropy{}, distance{};  // [row]
  std::vector<float> received{};             // [key]
  std::vector<int64_t> queries{};            // query of each row
  std::vector<float> thumbnail{};            // [thumbnail rows, thumbnail columns], maximum
  int64_t thumbnail_rows = 0, thumbnail_columns = 0;
  Range thumbnail_queries{}, thumbnail_keys{};  // the ranges that it shows: the family's part of the text
  /// If the layer's band is short compared to the text, the columns of the thumbnail are key − query (observe/offset_columns.h) over this
  /// range; empty: the columns are keys.
  Range thumbnail_offsets{};
  bool exact = true;
  int64_t rows = 0;
};

inline constexpr int64_t kThumbnail = 64;  ///< maximum number of cells per side
/// Returns the numbers of tokens that the queries of a layer see backwards and ahead, if they are few compared to the text and every row
/// was kept. Thumbnails of such a layer show key − query.
std::optional<std::pair<int64_t, int64_t>> short_band(const FamilyFacts& known, int layer);

/// Exact statistics of these heads: as collected during the run, or computed now.
std::vector<HeadStatistics> exact_statistics(const Trace& trace, const FamilyFacts& known, int layer, Range heads,
                                             const LookOptions& options);
/// Estimates of the same statistics from `rows` evenly spaced rows.
std::vector<HeadStatistics> sampled_statistics(const Trace& trace, const FamilyFacts& known, int layer, int64_t rows,
                                               const LookOptions& options);

}  // namespace clearhead::viewer
