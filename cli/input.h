// Reads a model's input from the command line: a text, a document, a story and a question, numbers, or the file of a picture or a sound.
#pragma once

#include <string>
#include <string_view>

#include "clearhead/model.h"
#include "cli/cli.h"

namespace clearhead::cli {

/// True for models that read a ModelInput instead of one text.
bool reads_inputs(const ModelInfo& info);
/// True for encoder-decoders, which generate a second text from the one they read.
bool writes_from_text(const ModelInfo& info);
/// True if "task_specific_params" of the model's config.json has settings for this task, as in Hugging Face's configs.
bool has_task_parameters(const ModelInfo& info, std::string_view task);
/// Returns the argument TEXT or --file for this model: the text itself, or the path of a picture or sound. Throws UsageError for
/// a picture or sound from standard input.
std::string given_to(const ModelInfo& info, const TextArguments& text);
/// given: the text, the numbers of a series, the name of a node, or the path of the picture or sound. second: the second text of a
/// pair, or the question for a model that reads one. If `second` is empty and the model reads several texts (a story), a last line that
/// ends with "?" is the question.
/// Throws UsageError for a question that is missing or that the model does not read, and whatever reading the file throws.
ModelInput input_of(const ModelInfo& info, const std::string& given, const std::string& second);

}  // namespace clearhead::cli
