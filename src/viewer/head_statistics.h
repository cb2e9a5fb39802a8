// A head's statistics on a text, as the atlas and the margins of the map need them: scores, entropy, distance and mass received, and a
// thumbnail of its map. Heads of a layer come from one sweep.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "clearhead/atlas.h"
#include "clearhead/trace.h"
#include "viewer/family_facts.h"

namespace clearhead {

struct HeadStatistics {
  HeadScores scores{};
  std::vector<float> entropy{}, distance{};  // [row looked at]
  std::vector<float> received{};             // [key]
  std::vector<int64_t> queries{};            // which query each row is
  std::vector<float> thumbnail{};            // [thumbnail rows, thumbnail columns], max
  int64_t thumbnail_rows = 0, thumbnail_columns = 0;
  Range thumbnail_queries{}, thumbnail_keys{};  // what it shows: a family's own part of the text
  /// A layer whose band is short against the text shows key − query (observe/near.h) of this range across, in place of keys; empty: keys.
  Range thumbnail_offsets{};
  bool exact = true;
  int64_t rows = 0;
};

inline constexpr int64_t kThumbnail = 64;  ///< most cells a side
/// How far a layer's queries see, back and ahead, where that is short against the text and every row was kept: its thumbnails then show key − query.
std::optional<std::pair<int64_t, int64_t>> short_band(const FamilyFacts& known, int layer);

/// Exact statistics of these heads: those that the run collected on its way, or computed now.
std::vector<HeadStatistics> exact_statistics(const Trace& trace, const FamilyFacts& known, int layer, Range heads,
                                             const LookOptions& options);
/// Estimates of them from `rows` evenly spaced rows.
std::vector<HeadStatistics> sampled_statistics(const Trace& trace, const FamilyFacts& known, int layer, int64_t rows,
                                               const LookOptions& options);

}  // namespace clearhead
