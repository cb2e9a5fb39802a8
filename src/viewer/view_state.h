// The state of the page, as encoded in its address: the view, the heads, the queries and keys. Exports and figures are made from it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "viewer/loaded_trace.h"
#include "viewer/questions/head.h"

namespace clearhead::viewer {

struct ViewState {
  std::string view = "read", family{}, weight = "raw", sink = "mark", direction = "out", scale = "sqrt";
  std::vector<std::pair<int, int64_t>> heads{};  ///< pinned heads, the main one first
  std::vector<Range> queries{}, keys{};
  std::vector<int64_t> rectangle{};  ///< k0, q0, k1, q1
  bool offsets = false;              ///< for v=map: columns are key − query
};

/// Parses "v=read&h=5.3&…", with or without '#'. Keys that only the page uses are ignored. Throws kInvalidArgument.
ViewState parse_state(const std::string& state);

/// The pinned head with this index; if there is none, the first head of the first kept layer.
HeadLook head_of(LoadedTrace& loaded, const ViewState& state, size_t index);

/// The part of the map that is shown: the rectangle, or all rows and columns of the family. Throws kInvalidArgument if it is empty.
struct ShownPart {
  Range queries{}, keys{};
};
ShownPart part_of(LoadedTrace& loaded, const ViewState& state, const std::string& family);

/// The smallest zoom level z, with 2^z × 2^z weights per cell, at which a part is at most `side` cells wide and high.
int level_of(const ShownPart& part, int64_t side);

}  // namespace clearhead::viewer
