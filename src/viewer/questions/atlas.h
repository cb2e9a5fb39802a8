// Statistics of heads: of one head for the margins of its map (api/stats), of all for the atlas (api/atlas).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "viewer/frame.h"
#include "viewer/questions/head.h"

namespace clearhead::questions {

ViewFrame stats(LoadedTrace& loaded, const HeadLook& at, int64_t bins, const LookOptions& options = {});
/// Events "heads": sampled first where the maps are large, exact last.
void atlas(LoadedTrace& loaded, const std::string& family, const TakeFrame& take, const LookOptions& options = {});

// What the exports share with them.
/// Computed where nobody has asked for it before.
const HeadStatistics& head_statistics(LoadedTrace& loaded, const std::string& family, int layer, int64_t head, const LookOptions& options);
/// Of heads of one layer; layer −1: of several.
ViewFrame heads_frame(const std::string& family, int layer, const std::vector<HeadStatistics>& heads);
/// Names of the scores that are said of a head, strongest first; how much each is stands among its scores.
Json strongest_json(const HeadScores& head);

}  // namespace clearhead::questions
