// The text side: tokens with their bytes and words, and the items behind them (api/text), their pictures (api/picture), named parts
// (api/segments).
#pragma once

#include <optional>

#include "base/json.h"
#include "viewer/frame.h"
#include "viewer/loaded_trace.h"

namespace clearhead::questions {

/// Absent: all tokens.
ViewFrame text(const LoadedTrace& loaded, int side, std::optional<Range> tokens = std::nullopt);
/// What the items of a range are cut from. Throws kNotFound where there is nothing.
ViewFrame picture(const LoadedTrace& loaded, int64_t range);
Json segments(const LoadedTrace& loaded, int side);

}  // namespace clearhead::questions
