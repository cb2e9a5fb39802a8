// The text: tokens with their bytes and words, and the items behind them (api/text), pictures of items (api/picture), and named segments
// (api/segments).
#pragma once

#include <optional>

#include "base/json.h"
#include "viewer/frame.h"
#include "viewer/loaded_trace.h"

namespace clearhead::viewer::questions {

/// `tokens` absent: all tokens.
ViewFrame text(const LoadedTrace& loaded, int side, std::optional<Range> tokens = std::nullopt);
/// The image that the items of a range were cut from. Throws kNotFound if there is none.
ViewFrame picture(const LoadedTrace& loaded, int64_t range);
Json segments(const LoadedTrace& loaded, int side);

}  // namespace clearhead::viewer::questions
