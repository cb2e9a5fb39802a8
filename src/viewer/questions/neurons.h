// The channels of a score (api/neurons): q, k and their products, for one query and some keys of a head.
#pragma once

#include <cstdint>

#include "viewer/frame.h"
#include "viewer/questions/head.h"

namespace clearhead::viewer {

struct NeuronLook {
  HeadLook at{};  ///< the weight kind and the sink rule are ignored
  int64_t query = 0;
  int64_t keys = 16;  ///< number of keys: those with the largest weights
  static constexpr int64_t kMostKeys = 256;
};

namespace questions {

/// q and k as the score was computed from them, with rotary positions applied, and scale·q·k for each channel and key. Throws as check_head()
/// and check_rows() do, and kUnsupported if the score is not a dot product.
ViewFrame neurons(LoadedTrace& loaded, const NeuronLook& look);

}  // namespace questions
}  // namespace clearhead::viewer
