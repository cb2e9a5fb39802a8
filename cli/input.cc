// Reads a model's input from the command line; one case per value of ModelInfo::reads.
#include "cli/input.h"

#include <utility>

#include "base/file.h"
#include "base/format.h"
#include "clearhead/data.h"
#include "clearhead/generate.h"
#include "cli/cli.h"
#include "models/reading.h"
#include "viewer/loaded_trace.h"

namespace clearhead::cli {

bool reads_inputs(const ModelInfo& info) { return !reads_texts(info); }

bool writes_from_text(const ModelInfo& info) { return info.encoder_layers > 0 && info.reads != "sound"; }

std::string given_to(const ModelInfo& info, const TextArguments& text) {
  const bool is_path = info.reads == "picture" || info.reads == "scene" || info.reads == "sound";
  if (!is_path) return text.read();
  if (text.is_standard_input()) usage_error(format("{} reads a {}: give its path", info.name, info.reads));
  if (text.has_text && !text.file.empty()) usage_error("give the text or --file, not both");
  return text.has_text ? text.text : text.file;
}

ModelInput input_of(const ModelInfo& info, const std::string& given, const std::string& question) {
  const bool asks = info.reads == "story" || info.reads == "scene";
  if (!asks && !question.empty()) usage_error(format("{} reads a {}, and no question", info.name, info.reads));
  ModelInput input{.question = question};
  if (info.reads == "picture" || info.reads == "scene") {
    input.picture = read_picture(info, given);
  } else if (info.reads == "sound") {
    input.sound = read_sound(given);
  } else {
    input.texts = sentences_of(given);
  }
  if (info.reads == "story" && question.empty() && !input.texts.empty() && input.texts.back().ends_with('?')) {
    input.question = input.texts.back();
    input.texts.pop_back();
  }
  if (asks && input.question.empty())
    usage_error(format("{} reads a {} and a question: give it by --question{}", info.name, info.reads,
                       info.reads == "story" ? ", or as the last line" : ""));
  return input;
}

namespace {

// True if config.json has "task_specific_params" with "summarization", as in Hugging Face's configs.
bool summarises(const ModelInfo& info) {
  const std::string path = info.directory + "/config.json";
  const Json config = Json::parse(read_config(path), path);
  const Json* tasks = config.find("task_specific_params");
  return tasks && tasks->is_object() && tasks->find("summarization");
}

}  // namespace

std::vector<std::string> tasks_of(const ModelInfo& info) {
  std::vector<std::string> out;
  for (const auto& [has, task] : {std::pair{info.has_embedding, "embed"},
                                  {info.has_masked, "fill"},
                                  {info.has_classifier && !info.answers && !info.tags, "classify"},
                                  {info.tags, "tag"},
                                  {info.chooses, "summarise"},
                                  {info.answers.has_value(), "answer"},
                                  {info.has_causal && info.encoder_layers == 0, "generate"},
                                  {writes_from_text(info), "translate"},
                                  {writes_from_text(info) && summarises(info), "summarise"},
                                  {writes_from_text(info) && turns_before(info), "chat"},
                                  {info.reads == "sound", "transcribe"}}) {
    if (has) out.emplace_back(task);
  }
  return out;
}

}  // namespace clearhead::cli
