// Converts Python objects to a ModelInput: a document, a story, a picture, a scene or a sound.
#pragma once

#include <nanobind/nanobind.h>

#include <optional>
#include <string>

#include "clearhead/model.h"

namespace clearhead::python {

/// Returns true for models that read a ModelInput instead of texts.
bool reads_inputs(const ModelInfo& info);
/// Returns the text for a model that reads texts. Throws kInvalidArgument unless `given` is a str.
std::string text_of(const ModelInfo& info, nanobind::handle given);
/// Converts `given` according to ModelInfo::reads:
///   "document"          a str, which is split into sentences, or a list of sentences
///   "story"             a str, which is split into statements, or a list of statements; needs a question
///   "picture", "scene"  a path, u8 [height, width] or [height, width, 3], or f32 [channels, height, width] from 0 to 1; a scene needs a
///                       question
///   "sound", "spectrogram"  a path, or (samples f32 [frame] or [channel, frame], frames per second)
/// Throws kInvalidArgument for anything else, and for a missing or superfluous question. Errors of reading a file pass through.
ModelInput input_of(const ModelInfo& info, nanobind::handle given, const std::optional<std::string>& question);

}  // namespace clearhead::python
