// Thumbnails of every head under a kind of weight and a sink rule, with what each sums to: the atlas of weighted kinds and of gradients (api/atlas with w).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "viewer/frame.h"
#include "viewer/questions/head.h"

namespace clearhead {

struct HeadPicture {
  int layer = 0;
  int64_t head = 0;
  int64_t rows = 0, columns = 0;
  std::vector<float> cells{};  ///< [rows, columns], max; NaN hidden, −1 never scored
  double sum = 0;              ///< of the map, over all queries and keys
  Range queries{}, keys{};     ///< what it shows: the family's own part of the text
  Range offsets{};             ///< of a band that is short against the text: key − query across, in place of keys; else empty
  int64_t sampled_rows = 0;    ///< 0: all were looked at
};

namespace questions {

/// Heads in order, `at.layer` and `at.head` aside: sampled first where all maps would take long, exact last; options.sampled_rows > 0: from about so many rows
/// alone, some of each row of cells. Throws NotKept.
void head_pictures(LoadedTrace& loaded, const HeadLook& at, const std::function<void(HeadPicture)>& take, const LookOptions& options = {});
/// Events "heads" of them.
void atlas_under(LoadedTrace& loaded, const HeadLook& at, const TakeFrame& take, const LookOptions& options = {});

}  // namespace questions
}  // namespace clearhead
