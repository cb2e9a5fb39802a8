// Pictures of a map: tiles of 256² cells at any level (api/tile), and the overview of the whole (api/overview).
//
// A cell of level z covers 2^z × 2^z weights, fewer at the map's end, and is the max and the mean over its visible pairs.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/json.h"
#include "observe/picture.h"
#include "viewer/frame.h"
#include "viewer/questions/head.h"

namespace clearhead {

/// What a picture holds.
struct Planes {
  bool max = true, mean = true;
  bool f32 = false;  ///< as they are, in place of codes
};

/// The columns of a picture: keys, or key − query from `back` before a query to `ahead` after it (observe/near.h).
struct Near {
  int64_t back = 0, ahead = 0;
};

struct TileLook {
  HeadLook at{};
  int z = 0;
  int64_t x = 0, y = 0;
  Planes planes{};
  bool exact = false;
  std::optional<Near> near{};  ///< columns are key − query
  int column_z = 0;            ///< and a cell covers 2^column_z of them
};

/// A rectangle of a map in cells of 2^z × 2^z weights, from a corner.
struct CellsLook {
  HeadLook at{};
  int z = 0;
  Range queries{}, keys{};
  int64_t sampled_rows = 0;  ///< 0: all
};

/// Max and mean of each cell. NaN: hidden, −1: never scored.
struct Cells {
  int z = 0;
  Range queries{}, keys{};  ///< where `near` is set, `keys` is a range of key − query
  int64_t rows = 0, columns = 0;
  std::vector<float> max{}, mean{};  // [rows, columns]
  bool exact = true;
  int64_t sampled_rows = 0;
  std::optional<int> column_z{};  ///< columns are key − query, and cells so wide
};

/// A part of a map about its diagonal in cells of 2^z queries × 2^column_z offsets.
struct NearLook {
  HeadLook at{};
  int z = 0, column_z = 0;
  Range queries{}, offsets{};
  int64_t sampled_rows = 0;
};

namespace questions {

ViewFrame tile(LoadedTrace& loaded, const TileLook& look, const LookOptions& options = {});
/// Events "picture": sampled first where the map is large, exact last.
/// `near`: of key − query in place of keys.
void overview(LoadedTrace& loaded, const HeadLook& at, const std::optional<Near>& near, const TakeFrame& take,
              const LookOptions& options = {});

// What the atlas and the exports share with them.
/// Norms of values, and the sink rule: what every weight of `look` is multiplied by before cells are pooled.
void add_factors(LoadedTrace& loaded, const CellsLook& look, TileRequest& request);
Cells cells(LoadedTrace& loaded, const CellsLook& look, const LookOptions& options);
Cells near_cells(LoadedTrace& loaded, const NearLook& look, const LookOptions& options);
/// All of what is near, in at most 512 × 512 cells. Throws kInvalidArgument where queries and keys are not the same tokens.
NearLook whole_near(LoadedTrace& loaded, const HeadLook& at, const Near& near);
/// What is near in a layer unless a question says otherwise: its band, else 256 tokens to each side that is visible. Throws kInvalidArgument
/// where queries and keys are not the same tokens.
Near near_of(LoadedTrace& loaded, const HeadLook& at);
/// The level at which the whole map is at most `side` cells wide and high.
int overview_level(const FamilyFacts& known, int64_t side);
ViewFrame picture_frame(LoadedTrace& loaded, const HeadLook& at, const Cells& cells, const Planes& planes = {});
/// What a picture's header says of its codes: {"kind", "lo", "hi", "error"}.
Json codes_json(const Codes& codes);

}  // namespace questions
}  // namespace clearhead
