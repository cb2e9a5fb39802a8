// The page's state, as its address says it: which view, which heads, which queries and keys. Exports and figures show what it says.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "viewer/loaded_trace.h"
#include "viewer/questions/head.h"

namespace clearhead {

struct ViewState {
  std::string view = "read", family{}, weight = "raw", sink = "mark", direction = "out", scale = "sqrt";
  std::vector<std::pair<int, int64_t>> heads{};  ///< pinned heads, the first in front
  std::vector<Range> queries{}, keys{};
  std::vector<int64_t> rectangle{};  ///< k0, q0, k1, q1
  bool offsets = false;              ///< of a map: columns are key − query
};

/// "v=read&h=5.3&…", with or without '#'. Keys of the page alone are passed over. Throws kInvalidArgument.
ViewState parse_state(const std::string& state);

/// The pinned head of that place; where there is none, the first of the first kept layer.
HeadLook head_of(LoadedTrace& loaded, const ViewState& state, size_t index);

/// The part of the map that is shown: the rectangle, or all of the family's rows and columns. Throws kInvalidArgument where it is empty.
struct ShownPart {
  Range queries{}, keys{};
};
ShownPart part_of(LoadedTrace& loaded, const ViewState& state, const std::string& family);

/// The level at which a part is at most `side` cells wide and high.
int level_of(const ShownPart& part, int64_t side);

}  // namespace clearhead
