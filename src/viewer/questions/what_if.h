// The model runs again with heads silenced, parts of the text cut, or another text: its answer before and after, and a second trace whose maps stand beside those
// of the first (api/what-if).
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "clearhead/observer.h"
#include "viewer/loaded_trace.h"

namespace clearhead {

struct WhatIfLook {
  /// Ids of the text that the model reads now.
  struct Span {
    Range ids{};
    std::optional<Range> rows{};  ///< absent: all
  };
  std::optional<std::string> text{};  ///< in place of the one that is looked at; of an encoder-decoder the source
  std::vector<Interventions::Head> knock_out{};
  std::vector<Span> cut{}, keep_only{};
};
/// The fields of a POST body. Throws kInvalidArgument, kFormat.
WhatIfLook what_if_look_of(const Json& body);

namespace questions {

/// The answer of docs/viewer-api.md; the second trace is kept as loaded.edited(). Throws NotKept without a model, kInvalidArgument for heads and ids that are not
/// there, kUnsupported for another text where the model reads something else, what running the model throws, kCancelled.
Json what_if(LoadedTrace& loaded, const WhatIfLook& look, const std::function<void(double, const std::string&)>& progress,
             const std::atomic<bool>* cancel);

}  // namespace questions
}  // namespace clearhead
