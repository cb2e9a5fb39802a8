// A trace of one answer: the records of a run, together with the gradients of the answer.
#pragma once

#include "clearhead/trace.h"
#include "explain/attribution_target.h"

namespace clearhead::explain {

/// One forward and one backward pass of the target with these interventions. The trace keeps what `options` selects and, for every
/// kept row, the gradient of the answer with respect to the output of each head (TraceOptions::gradients_of is set to the answer).
/// The model must be loaded with LoadOptions::gradients.
Trace trace_with_gradients(const AttributionTarget& target, TraceOptions options, const Interventions& interventions = {});

}  // namespace clearhead::explain
