// Reads a model's input from the command line, with the InputKind of the model.
#include "cli/input.h"

#include <utility>

#include "base/file.h"
#include "base/format.h"
#include "clearhead/data.h"
#include "cli/cli.h"
#include "models/input_kind.h"
#include "models/input_picture.h"
#include "models/input_text.h"
#include "viewer/loaded_trace.h"

namespace clearhead::cli {

bool reads_inputs(const ModelInfo& info) { return !input_kind(info).is_text(); }

bool writes_from_text(const ModelInfo& info) {
  const InputKind& kind = input_kind(info);
  return kind.is_text() && kind.has_target;
}

bool has_task_parameters(const ModelInfo& info, std::string_view task) {
  const std::string path = info.directory + "/config.json";
  const Json config = Json::parse(read_config(path), path);
  const Json* tasks = config.find("task_specific_params");
  return tasks && tasks->is_object() && tasks->find(task);
}

std::string given_to(const ModelInfo& info, const TextArguments& text) {
  if (!input_kind(info).is_file()) return text.read();
  if (text.is_standard_input()) usage_error(format("{} reads a {}: give its path", info.name, info.reads));
  if (text.has_text && !text.file.empty()) usage_error("give the text or --file, not both");
  return text.has_text ? text.text : text.file;
}

ModelInput input_of(const ModelInfo& info, const std::string& given, const std::string& second) {
  const InputKind& kind = input_kind(info);
  if (kind.is_text()) return {.text = given, .pair = second.empty() ? std::nullopt : std::optional(second)};
  if (!kind.has_question && !second.empty())
    usage_error(format("{} reads a {} and takes no question; leave out --question", info.name, info.reads));
  ModelInput input{.question = second};
  switch (kind.form) {
    case InputKind::Form::kPicture: input.picture = read_picture(info, given); break;
    case InputKind::Form::kSound: input.sound = read_sound(given); break;
    case InputKind::Form::kNumbers: input.series = kind.read_numbers(info, given); break;
    case InputKind::Form::kNode: input.text = given; break;
    case InputKind::Form::kText:
    case InputKind::Form::kTexts: input.texts = sentences_of(given); break;
  }
  const bool may_end_with_question = kind.has_question && kind.form == InputKind::Form::kTexts;
  if (may_end_with_question && second.empty() && !input.texts.empty() && input.texts.back().ends_with('?')) {
    input.question = input.texts.back();
    input.texts.pop_back();
  }
  if (kind.has_question && input.question.empty())
    usage_error(format("{} reads a {} and a question: give the question with --question{}", info.name, info.reads,
                       may_end_with_question ? ", or as the last line" : ""));
  return input;
}

}  // namespace clearhead::cli
