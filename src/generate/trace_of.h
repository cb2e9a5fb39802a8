// Runs a model on an input of any kind and returns the trace. The command line, the viewer and Python all call this function.
//
//   a text                                    one run, or windows over the text (models/trace_text.h)
//   the source text of an encoder-decoder     the model generates the target first; the trace is of a run over both texts
//   any other input                           one run; a model that generates text from the input generates it first
#pragma once

#include <optional>

#include "clearhead/generate.h"
#include "models/trace_text.h"

namespace clearhead {

struct TracedInput : TracedText {
  std::optional<Generated> written{};  ///< the target, if a model generated it from a text
};

/// The default options for generating the target: the settings in the model's files; for those that are missing, 4 beams and
/// at most 256 tokens.
GenerateOptions default_writing(const Model& model);

/// Generates a target from one encoded source, and traces the run over both texts. request: the text of the source, and what the
/// trace keeps. The trace is empty if `written->ids` is. Throws as generate_from().
TracedInput trace_writing(const Model& model, const TraceRequest& request, const Encoding& source, GenerateOptions writing);

/// Traces a run of the model on the request's input. A model that generates text does so with default_writing(), unless the request
/// has the text that was generated before.
/// Throws as trace_text() and generate_from(); kInvalidArgument for generated tokens of a model that generates none; kTooLong for a source
/// that is longer than the model's positions, unless the request truncates it; kUnsupported for options that do not apply to the
/// kind of input, such as windows over a picture; kNotFound if the generated target is empty.
TracedInput trace_of(const Model& model, const TraceRequest& request);

}  // namespace clearhead
