// Places that a caller names in a run: queries, keys, rows and layers. One that the run does not have is refused, because
// an edit of nothing looks like an edit without effect.
#pragma once

#include <vector>

#include "clearhead/observer.h"
#include "clearhead/trace.h"

namespace clearhead {

/// Throws kInvalidArgument, naming the range and what there is, for knockouts and keep-only pairs beyond the maps that they
/// apply to. `more`: tokens that the run may add to these maps.
void check_places(const Interventions& interventions, const std::vector<MapFamily>& families, int64_t more = 0);

/// Throws kInvalidArgument for rows beyond the text, and for layers that none of its maps has.
void check_places(const TraceOptions& options, const RunPlan& plan);

}  // namespace clearhead
