// The way from an input to its trace, for every kind of input: the command line, the viewer and Python take no other.
//
//   a text                                one run, or windows over it (models/trace_text.h)
//   a text from which a model writes      the model writes its target first; the trace is of a run over both
//   any other input                       one run; a model that writes does so first
#pragma once

#include <optional>

#include "clearhead/generate.h"
#include "models/trace_text.h"

namespace clearhead {

struct TracedInput : TracedText {
  std::optional<Generated> written{};  ///< by a model that writes from a text
};

/// How a model writes unless the caller says otherwise: as its files say, else by 4 beams, at most 256 tokens.
GenerateOptions default_writing(const Model& model);

/// The request has a text for models that read texts, and an input for all others. `writing` replaces default_writing().
/// Throws as trace_text() and generate_from(); kTooLong for a source that is longer than the model's positions, unless the request
/// truncates it; kUnsupported for parts of the request that the kind of input does not have, such as windows over a picture; kNotFound if
/// nothing was written.
TracedInput trace_of(const Model& model, const TraceRequest& request, const std::optional<GenerateOptions>& writing = {});

}  // namespace clearhead
