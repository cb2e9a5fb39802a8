// A description of the open trace (api/info): families, notes, missing features.
#pragma once

#include <string>

#include "base/json.h"
#include "viewer/loaded_trace.h"

namespace clearhead::viewer {

inline constexpr int kViewerProtocol = 1;

namespace questions {

Json info(LoadedTrace& loaded);

/// An entry of `missing`, also used by the offline page: {"feature", "code", "command", "detail"}.
Json missing_json(const char* feature, const char* code, Json command, std::string detail);

/// [{"name", "probability", "token"}]: the answers of LoadedTrace::Options.
Json answered_json(const LoadedTrace::Options& options);

}  // namespace questions
}  // namespace clearhead::viewer
