// What a command line gives a model to read: a text, a document, a story and a question, or the file of a picture or a sound. And what
// a model can be asked.
#pragma once

#include <string>
#include <vector>

#include "clearhead/model.h"
#include "cli/cli.h"

namespace clearhead::cli {

/// True for models that are given a ModelInput, not one text.
bool reads_inputs(const ModelInfo& info);
/// True for encoder-decoders, which write a second text from the one they read.
bool writes_from_text(const ModelInfo& info);
/// The model's input on the command line, TEXT or --file: a text, or the path of a picture or sound. Throws UsageError for a
/// picture or sound from standard input.
std::string given_to(const ModelInfo& info, const TextArguments& text);
/// given: the text, or the path of the picture or sound. question: of a story, if empty its last line; of a scene.
/// Throws UsageError for a question that is missing or that nothing reads; what reading a file throws.
ModelInput input_of(const ModelInfo& info, const std::string& given, const std::string& question);
/// The commands of `clearhead run` that the model answers; the last one is its own task.
std::vector<std::string> tasks_of(const ModelInfo& info);

}  // namespace clearhead::cli
