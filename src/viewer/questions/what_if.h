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

/// Runs of equal ids in two texts: `count` from `before` in the one are those from `after` in the other.
struct Aligned {
  int64_t before = 0, after = 0, count = 0;
};
/// A longest common subsequence; where the stretches that differ are both long (their product beyond 4 million), what they share is not sought.
std::vector<Aligned> aligned(const std::vector<int32_t>& before, const std::vector<int32_t>& after);

namespace questions {

/// The answer of docs/viewer-api.md; the second trace is kept as loaded.edited(). Throws NotKept without a model, kInvalidArgument for heads and ids that are not
/// there, kUnsupported for another text where the model reads something else, what running the model throws, kCancelled.
Json what_if(LoadedTrace& loaded, const WhatIfLook& look, const std::function<void(double, const std::string&)>& progress,
             const std::atomic<bool>* cancel);

}  // namespace questions
}  // namespace clearhead
