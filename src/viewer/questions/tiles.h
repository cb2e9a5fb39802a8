// Pictures of a map: tiles of 256² cells at any zoom level (api/tile), and an overview of the whole map (api/overview).
//
// A cell of level z covers 2^z × 2^z weights, fewer at the edge of the map, and has the maximum and the mean over its visible pairs.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/json.h"
#include "observe/picture.h"
#include "viewer/frame.h"
#include "viewer/questions/head.h"

namespace clearhead::viewer {

/// The arrays that a picture contains.
struct Planes {
  bool max = true, mean = true;
  bool f32 = false;  ///< as f32 instead of 8-bit codes
};

/// Columns of a picture as key − query, from `back` before the query to `ahead` after it (observe/offset_columns.h).
struct OffsetColumns {
  int64_t back = 0, ahead = 0;
};

struct TileLook {
  HeadLook at{};
  int z = 0;
  int64_t x = 0, y = 0;
  Planes planes{};
  bool exact = false;
  std::optional<OffsetColumns> near{};  ///< if set, columns are key − query
  int column_z = 0;                     ///< and a cell covers 2^column_z of them
};

/// A rectangle of a map in cells of 2^z × 2^z weights, counted from its corner.
struct CellsLook {
  HeadLook at{};
  int z = 0;
  Range queries{}, keys{};
  int64_t sampled_rows = 0;  ///< 0: all rows
};

/// Maximum and mean of each cell. NaN: hidden, −1: never scored.
struct Cells {
  int z = 0;
  Range queries{}, keys{};  ///< if `column_z` is set, `keys` is a range of key − query
  int64_t rows = 0, columns = 0;
  std::vector<float> max{}, mean{};  // [rows, columns]
  bool exact = true;
  int64_t sampled_rows = 0;
  std::optional<int> column_z{};  ///< if set, columns are key − query, and a cell covers 2^column_z of them
};

/// A part of a map along its diagonal, in cells of 2^z queries × 2^column_z offsets.
struct OffsetLook {
  HeadLook at{};
  int z = 0, column_z = 0;
  Range queries{}, offsets{};
  int64_t sampled_rows = 0;
};

namespace questions {

ViewFrame tile(LoadedTrace& loaded, const TileLook& look, const LookOptions& options = {});
/// Emits "picture" events: sampled first if the map is large, exact last.
/// `near`: if set, columns are key − query instead of keys.
void overview(LoadedTrace& loaded, const HeadLook& at, const std::optional<OffsetColumns>& near, const TakeFrame& take,
              const LookOptions& options = {});

// Shared with the atlas and the exports.
/// Norms of values and the sink rule: sets the factors that every weight of `look` is multiplied with before pooling.
void add_factors(LoadedTrace& loaded, const CellsLook& look, TileRequest& request);
Cells cells(LoadedTrace& loaded, const CellsLook& look, const LookOptions& options);
Cells near_cells(LoadedTrace& loaded, const OffsetLook& look, const LookOptions& options);
/// The whole band `near` in at most 512 × 512 cells. Throws kInvalidArgument if queries and keys are not the same tokens.
OffsetLook whole_by_offset(LoadedTrace& loaded, const HeadLook& at, const OffsetColumns& near);
/// The default band of a layer: its own band, else 256 tokens in each direction that is visible. Throws kInvalidArgument
/// if queries and keys are not the same tokens.
OffsetColumns offset_columns_of(LoadedTrace& loaded, const HeadLook& at);
/// The level at which the whole map is at most `side` cells wide and high.
int overview_level(const FamilyFacts& known, int64_t side);
ViewFrame picture_frame(LoadedTrace& loaded, const HeadLook& at, const Cells& cells, const Planes& planes = {});
/// The quantisation in a picture's header: {"kind", "lo", "hi", "error"}.
Json codes_json(const Codes& codes);

}  // namespace questions
}  // namespace clearhead::viewer
