// One reader for each kind of input.
#include "train/tasks/input_data.h"

#include <algorithm>

#include "base/format.h"
#include "clearhead/error.h"
#include "models/reading.h"
#include "train/json_lines.h"
#include "train/tasks/labelled_data.h"
#include "train/tasks/parted_data.h"
#include "train/tasks/picture_data.h"
#include "train/tasks/scene_data.h"
#include "train/tasks/stories.h"
#include "train/text_data.h"

namespace clearhead {
namespace {

std::vector<LabelledInput> read_documents(const std::string& file, const Recipe& recipe, LeftOut* left_out) {
  std::vector<LabelledInput> out;
  const TaskRecipe& task = *recipe.task;
  if (!is_json_lines(file)) {
    for (LabelledLine& line : read_labelled(file, recipe, left_out))
      out.push_back({{.texts = sentences_of(line.text)}, line.labels.front(), line.where});
    return out;
  }
  const SourceText opened = open_text(recipe.source, file);
  for_each_json_object(opened.text, opened.path(), {}, [&](const Json& object, const std::string& where) {
    Fields fields(object, where);
    const Json& text = fields.require(task.text);
    LabelledInput one{.where = where};
    if (text.is_string()) {
      one.input.texts = sentences_of(text.string());
    } else {
      one.input.texts = fields.strings(task.text);
    }
    const Json& label = fields.require(task.label);
    one.label = label.is_string() ? label.string() : label.dump();
    out.push_back(std::move(one));
  });
  return out;
}

std::vector<LabelledInput> read_questions(const std::string& files, const Recipe& recipe) {
  std::vector<LabelledInput> out;
  for (StoryQuestion& one : read_stories(files, recipe)) out.push_back(std::move(one.asked));
  return out;
}

}  // namespace

std::vector<LabelledLine> read_lines(const std::string& file, const Recipe& recipe, LeftOut* left_out) {
  const std::string reads = what_is_read(recipe.model);
  if (recipe.task->folds) return read_fold(file, recipe, left_out);
  if (reads == "text" && recipe.task->passages)
    fail(ErrorCode::kUnsupported, "{}: \"task.passages\" makes documents; the model reads a text", recipe.where);
  if (reads == "text") return read_labelled(file, recipe, left_out);
  std::vector<LabelledLine> out;
  for (LabelledInput& one : read_inputs(file, recipe, reads, left_out)) {
    out.push_back({.labels = {std::move(one.label)}, .where = std::move(one.where), .input = std::move(one.input)});
  }
  return out;
}

std::vector<LabelledInput> read_inputs(const std::string& file, const Recipe& recipe, const std::string& reads, LeftOut* left_out) {
  std::vector<LabelledInput> out;
  const bool has_pictures = reads == "picture" || reads == "scene";
  if (has_pictures != recipe.task->pictures.has_value()) {
    fail(ErrorCode::kInvalidArgument, "{}: the model reads a {}: expected {}", recipe.where, reads,
         has_pictures ? "\"task.pictures\"" : "\"task.text\" in place of \"task.pictures\"");
  }
  if (has_pictures && (reads == "scene") != recipe.task->scenes.has_value()) {
    fail(ErrorCode::kInvalidArgument, "{}: the model reads a {}: expected {}", recipe.where, reads,
         reads == "scene" ? "\"task.scenes\"" : "no \"task.scenes\"");
  }
  if (reads == "document")
    out = recipe.task->passages ? read_passages(file, recipe) : read_documents(file, recipe, left_out);
  else if (reads == "picture")
    out = read_pictures(file, recipe, pictures_of(recipe));
  else if (reads == "scene")
    out = read_scenes(file, recipe);
  else if (reads == "story")
    out = read_questions(file, recipe);
  else
    fail(ErrorCode::kUnsupported, "{}: there is no task yet for a model that reads a {}", recipe.where, reads);
  const auto skipped = std::erase_if(out, [&](const LabelledInput& one) {
    const std::vector<std::string>& skip = recipe.task->skip;
    return std::find(skip.begin(), skip.end(), one.label) != skip.end();
  });
  if (left_out) left_out->skipped += static_cast<int64_t>(skipped);
  return out;
}

}  // namespace clearhead
