// Thumbnails and sums of every head under a weight kind and a sink rule: the atlas of weighted kinds and of gradients (api/atlas with w).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "viewer/frame.h"
#include "viewer/questions/head.h"

namespace clearhead::viewer {

struct HeadPicture {
  int layer = 0;
  int64_t head = 0;
  int64_t rows = 0, columns = 0;
  std::vector<float> cells{};  ///< [rows, columns], maximum; NaN: hidden, −1: never scored
  double sum = 0;              ///< the sum of the map over all queries and keys
  Range queries{}, keys{};     ///< the ranges that it shows: the family's part of the text
  Range offsets{};             ///< if the band is short compared to the text, the columns are key − query over this range; else empty
  int64_t sampled_rows = 0;    ///< number of sampled rows; 0: all rows were used
};

namespace questions {

/// Calls `take` for each head in order; `at.layer` and `at.head` are ignored. If all maps together would take long, sampled pictures come
/// first and exact ones last. options.sampled_rows > 0: only from about that many rows, some for each row of cells. Throws NotKept.
void head_pictures(LoadedTrace& loaded, const HeadLook& at, const std::function<void(HeadPicture)>& take, const LookOptions& options = {});
/// Emits the pictures as "heads" events.
void atlas_under(LoadedTrace& loaded, const HeadLook& at, const TakeFrame& take, const LookOptions& options = {});

}  // namespace questions
}  // namespace clearhead::viewer
