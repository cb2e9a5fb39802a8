// Reads labelled inputs; one reader for each kind of input.
#include "tasks/data/input_data.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "base/format.h"
#include "clearhead/error.h"
#include "models/input_kind.h"
#include "models/input_text.h"
#include "tasks/babi.h"
#include "tasks/data/json_lines.h"
#include "tasks/data/labelled_data.h"
#include "tasks/data/parted_data.h"
#include "tasks/data/picture_data.h"
#include "tasks/data/scene_data.h"
#include "tasks/data/sound_data.h"
#include "tasks/data/text_data.h"

namespace clearhead::tasks {
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
    const Json& text = fields.require(task.data.text);
    LabelledInput one{.where = where};
    if (text.is_string()) {
      one.input.texts = sentences_of(text.string());
    } else {
      one.input.texts = fields.strings(task.data.text);
    }
    const Json& label = fields.require(task.data.label);
    one.label = label.is_string() ? label.string() : label.dump();
    out.push_back(std::move(one));
  });
  return out;
}

std::vector<LabelledInput> read_questions(const std::string& files, const Recipe& recipe, LeftOut*) {
  std::vector<LabelledInput> out;
  for (StoryQuestion& one : read_stories(files, recipe)) out.push_back(std::move(one.asked));
  return out;
}

// A reader of examples for models that do not read one text, and the fields of the recipe's data that it needs. Other models refuse
// these fields.
struct InputReader {
  std::string_view reads;  // as ModelInfo::reads
  bool needs_pictures = false, needs_scenes = false, needs_sounds = false;
  std::vector<LabelledInput> (*read)(const std::string& file, const Recipe& recipe, LeftOut* left_out) = nullptr;
};
constexpr InputReader kReaders[] = {
    {.reads = "document",
     .read =
         [](const std::string& file, const Recipe& recipe, LeftOut* left_out) {
           return recipe.task->data.passages ? read_passages(file, recipe) : read_documents(file, recipe, left_out);
         }},
    {.reads = "picture",
     .needs_pictures = true,
     .read = [](const std::string& file, const Recipe& recipe, LeftOut*) { return read_pictures(file, recipe, pictures_of(recipe)); }},
    {.reads = "scene",
     .needs_pictures = true,
     .needs_scenes = true,
     .read = [](const std::string& file, const Recipe& recipe, LeftOut*) { return read_scenes(file, recipe); }},
    {.reads = "spectrogram",
     .needs_sounds = true,
     .read = [](const std::string& file, const Recipe& recipe, LeftOut*) { return read_sounds(file, recipe); }},
    {.reads = "story", .read = read_questions},
};

// Null for a model that reads one text, or that has no reader.
const InputReader* find_reader(std::string_view reads) {
  const auto* found = std::find_if(std::begin(kReaders), std::end(kReaders), [&](const InputReader& one) { return one.reads == reads; });
  return found == std::end(kReaders) ? nullptr : found;
}

}  // namespace

std::vector<LabelledLine> read_lines(const std::string& file, const Recipe& recipe, LeftOut* left_out) {
  if (recipe.task->data.folds) return read_fold(file, recipe, left_out);
  const std::string reads = what_is_read(recipe.model);
  if (input_kind(reads).is_text()) {
    if (recipe.task->data.pictures || recipe.task->data.sounds) {
      fail(ErrorCode::kInvalidArgument, "{}: the model reads a {}: expected \"task.text\" in place of \"task.{}\"", recipe.where, reads,
           recipe.task->data.pictures ? "pictures" : "sounds");
    }
    if (recipe.task->data.passages)
      fail(ErrorCode::kUnsupported, "{}: \"task.passages\" makes documents; the model reads a {}", recipe.where, reads);
    return read_labelled(file, recipe, left_out);
  }
  std::vector<LabelledLine> out;
  for (LabelledInput& one : read_inputs(file, recipe, reads, left_out)) {
    out.push_back({.labels = {std::move(one.label)}, .where = std::move(one.where), .input = std::move(one.input)});
  }
  return out;
}

std::vector<LabelledInput> read_inputs(const std::string& file, const Recipe& recipe, const std::string& reads, LeftOut* left_out) {
  const LabelledDataRecipe& data = recipe.task->data;
  const InputReader* reader = find_reader(reads);
  const bool needs_pictures = reader && reader->needs_pictures, needs_scenes = reader && reader->needs_scenes,
             needs_sounds = reader && reader->needs_sounds;
  if (needs_pictures != data.pictures.has_value()) {
    fail(ErrorCode::kInvalidArgument, "{}: the model reads a {}: expected {}", recipe.where, reads,
         needs_pictures ? "\"task.pictures\"" : "\"task.text\" in place of \"task.pictures\"");
  }
  if (needs_scenes != data.scenes.has_value()) {
    fail(ErrorCode::kInvalidArgument, "{}: the model reads a {}: expected {}", recipe.where, reads,
         needs_scenes ? "\"task.scenes\"" : "no \"task.scenes\"");
  }
  if (needs_sounds != data.sounds.has_value()) {
    fail(ErrorCode::kInvalidArgument, "{}: the model reads a {}: expected {}", recipe.where, reads,
         needs_sounds ? "\"task.sounds\"" : "no \"task.sounds\"");
  }
  if (!reader) fail(ErrorCode::kUnsupported, "{}: there is no task yet for a model that reads a {}", recipe.where, reads);
  std::vector<LabelledInput> out = reader->read(file, recipe, left_out);
  const auto skipped = std::erase_if(out, [&](const LabelledInput& one) {
    const std::vector<std::string>& skip = recipe.task->data.skip;
    return std::find(skip.begin(), skip.end(), one.label) != skip.end();
  });
  if (left_out) left_out->skipped += static_cast<int64_t>(skipped);
  return out;
}

std::vector<std::string> class_names(const Recipe& recipe, size_t least) {
  const std::vector<LabelledLine> lines = read_lines(recipe.task->train, recipe);
  check_classes(lines);
  std::set<std::string> classes;
  for (const LabelledLine& line : lines) classes.insert(line.labels.begin(), line.labels.end());
  if (classes.size() < least) {
    fail(ErrorCode::kInvalidArgument, "{}/{}: has {} class{}; expected {} or more{}", recipe.source.folder, recipe.task->train,
         classes.size(), classes.size() == 1 ? ", \"" + *classes.begin() + "\"" : "es", least == 2 ? "two" : "one",
         recipe.task->data.label.empty() ? "" : format(" (\"task.label\" is {})", recipe.task->data.label));
  }
  return {classes.begin(), classes.end()};
}

std::vector<std::string> training_texts(const Recipe& recipe) {
  std::vector<std::string> out;
  for (const LabelledLine& line : read_lines(recipe.task->train, recipe)) {
    if (!line.input) {
      out.push_back(line.text + "\n" + line.pair);
      continue;
    }
    out.insert(out.end(), line.input->texts.begin(), line.input->texts.end());
    if (!line.input->question.empty()) out.push_back(line.input->question);
  }
  return out;
}

}  // namespace clearhead::tasks
