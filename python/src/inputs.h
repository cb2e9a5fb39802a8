// What a model of the literature is given, as Python has it: a document, a story, a picture, a scene, a sound (ModelInput).
#pragma once

#include <nanobind/nanobind.h>

#include <optional>
#include <string>

#include "clearhead/model.h"

namespace clearhead::python {

/// True for models that are given a ModelInput, not texts.
bool reads_inputs(const ModelInfo& info);
/// Of a model that reads texts. Throws kInvalidArgument for what is no str.
std::string text_of(const ModelInfo& info, nanobind::handle given);
/// given, by what the model reads:
///   "document"          a str, which is cut into sentences, or a list of them
///   "story"             the same, its statements; with a question
///   "picture", "scene"  a path, u8 [height, width] or [height, width, 3], or f32 [channels, height, width] from 0 to 1; a scene with a question
///   "sound"             a path, or (samples f32 [frame] or [channel, frame], frames a second)
/// Throws kInvalidArgument for anything else, and for a question that is missing or that nothing reads; what reading a file throws.
ModelInput input_of(const ModelInfo& info, nanobind::handle given, const std::optional<std::string>& question);

}  // namespace clearhead::python
