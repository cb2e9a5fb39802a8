// Runs the model again with heads knocked out, parts of the text cut, or another text. Gives the answer before and after, and a second
// trace whose maps can be compared with those of the first (api/what-if).
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "clearhead/observer.h"
#include "viewer/loaded_trace.h"

namespace clearhead::viewer {

struct WhatIfLook {
  /// A range of ids of the text that the model reads in the new run.
  struct Span {
    Range ids{};
    std::optional<Range> rows{};  ///< the queries that the change applies to; absent: all
  };
  std::optional<std::string> text{};  ///< replaces the open text; for an encoder-decoder, the source
  std::vector<Interventions::Head> knock_out{};
  std::vector<Span> cut{}, keep_only{};
};
/// Parses the fields of a POST body. Throws kInvalidArgument, kFormat.
WhatIfLook what_if_look_of(const Json& body);

namespace questions {

/// Returns the answer described in docs/viewer-api.md; the second trace is kept as loaded.edited(). Throws NotKept without a model,
/// kInvalidArgument for heads and ids that do not exist, kUnsupported for another text if the model's input is not a text, kCancelled,
/// and what running the model throws.
Json what_if(LoadedTrace& loaded, const WhatIfLook& look, const std::function<void(double, const std::string&)>& progress,
             const std::atomic<bool>* cancel);

}  // namespace questions
}  // namespace clearhead::viewer
