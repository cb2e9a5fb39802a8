// A trace of one question: records of a pass, and the gradients of its answer beside them.
#pragma once

#include "clearhead/trace.h"
#include "judge/subject.h"

namespace clearhead::judge {

/// One pass of the question with these interventions, forward and back. The trace keeps what `options` says, and of every kept
/// row the gradient of the answer with respect to the output of each head (TraceOptions::gradients_of is set to the answer).
/// The model must be loaded with LoadOptions::gradients.
Trace trace_with_gradients(const Subject& subject, TraceOptions options, const Interventions& interventions = {});

}  // namespace clearhead::judge
