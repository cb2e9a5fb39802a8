// Checks the queries, keys, rows and layers of a run that a caller names. Those that do not exist are refused: otherwise, an
// intervention on nothing would look like an intervention without effect.
#pragma once

#include <vector>

#include "clearhead/observer.h"
#include "clearhead/trace.h"

namespace clearhead {

/// Throws kInvalidArgument, with the range and the number that exists, if knockouts or keep-only pairs exceed the maps that they
/// apply to. `more`: number of tokens that the run may add to these maps.
void check_ranges(const Interventions& interventions, const std::vector<MapFamily>& families, int64_t more = 0);

/// Throws kInvalidArgument for rows beyond the text, and for layers that no map family has.
void check_ranges(const TraceOptions& options, const RunPlan& plan);

}  // namespace clearhead
