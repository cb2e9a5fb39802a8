// Statistics of heads: of one head for the margins of its map (api/stats), and of all heads for the atlas (api/atlas).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "viewer/frame.h"
#include "viewer/questions/head.h"

namespace clearhead::viewer::questions {

/// Scores of one head, and its entropy, received attention and distance in at most `bins` bins. Throws kInvalidArgument unless `bins`
/// is 1 to 65,536, and NotKept.
ViewFrame stats(LoadedTrace& loaded, const HeadLook& at, int64_t bins, const LookOptions& options = {});
/// Emits "heads" events: sampled first if the maps are large, exact last.
void atlas(LoadedTrace& loaded, const std::string& family, const TakeFrame& take, const LookOptions& options = {});

// Shared with the exports.
/// The statistics of a head; computed if they are not cached.
const HeadStatistics& head_statistics(LoadedTrace& loaded, const std::string& family, int layer, int64_t head, const LookOptions& options);
/// The frame of several heads of one layer; layer −1: of several layers.
ViewFrame heads_frame(const std::string& family, int layer, const std::vector<HeadStatistics>& heads);
/// The names of the head's strongest scores, the strongest first; their values are among its scores.
Json strongest_json(const HeadScores& head);

}  // namespace clearhead::viewer::questions
