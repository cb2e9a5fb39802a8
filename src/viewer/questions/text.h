// The text side: tokens with their bytes and words (api/text), named parts (api/segments).
#pragma once

#include <optional>

#include "base/json.h"
#include "viewer/frame.h"
#include "viewer/loaded_trace.h"

namespace clearhead::questions {

/// Absent: all tokens.
ViewFrame text(const LoadedTrace& loaded, int side, std::optional<Range> tokens = std::nullopt);
Json segments(const LoadedTrace& loaded, int side);

}  // namespace clearhead::questions
