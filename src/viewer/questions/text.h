// The text: tokens with their bytes and words, and the items behind them (api/text), pictures of items (api/picture), and named segments
// (api/segments).
#pragma once

#include <optional>

#include "base/json.h"
#include "viewer/frame.h"
#include "viewer/loaded_trace.h"

namespace clearhead::viewer::questions {

/// `side` must be 0 (kNotFound otherwise). `tokens`: a range of ids, items included; absent: all.
ViewFrame text(const LoadedTrace& loaded, int side, std::optional<Range> tokens = std::nullopt);
/// The image that items were cut from; `range` is an index into RunText::items. Throws kNotFound if there is none.
ViewFrame picture(const LoadedTrace& loaded, int64_t range);
Json segments(const LoadedTrace& loaded, int side);

}  // namespace clearhead::viewer::questions
