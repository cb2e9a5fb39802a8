// Converts Python objects to a ModelInput: a text, a document, a story, a picture, a scene, a sound, a series or a node of a graph.
#pragma once

#include <nanobind/nanobind.h>

#include <optional>
#include <string>

#include "clearhead/model.h"

namespace clearhead::python {

/// Converts `given` according to ModelInfo::reads:
///   "text", "pair"      a str, and optionally the second text
///   "document"          a str, which is split into sentences, or a list of sentences
///   "story"             a str, which is split into statements, or a list of statements; needs a question
///   "picture", "scene"  a path, u8 [height, width] or [height, width, 3], or f32 [channels, height, width] from 0 to 1; a scene needs a
///                       question
///   "sound", "spectrogram"  a path, or (samples f32 [frame] or [channel, frame], sampling rate)
///   "series"            a list or an array [number], or a str of numbers: the samples, then the features
///   "graph"             a str, the name of a node
///   "graph"             a str, the name of a node
/// Throws kInvalidArgument for anything else, for a missing or superfluous question, and for a second text that the model does not read.
/// Errors of reading a file pass through.
ModelInput input_of(const ModelInfo& info, nanobind::handle given, const std::optional<std::string>& pair,
                    const std::optional<std::string>& question);

}  // namespace clearhead::python
