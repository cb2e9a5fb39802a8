// Reads labelled inputs in the way that the recipe and its model determine.
#include "tasks/data/input_data.h"

#include <algorithm>
#include <set>

#include "base/format.h"
#include "clearhead/error.h"
#include "models/input_kind.h"
#include "tasks/data/folds.h"
#include "tasks/data/labelled_data.h"

namespace clearhead::tasks {
namespace {

// The fields that describe examples for a model with this ModelInfo::reads, for messages: "\"task.pictures\"".
std::string fields_for(std::string_view reads) {
  std::vector<std::string> names;
  if (input_kind(reads).is_text()) names.emplace_back("\"task.text\"");
  for (const ExampleKind* kind : example_kinds()) {
    if (kind->reads != reads) continue;
    names.push_back(format("\"task.{}\"", kind->fields ? kind->name : "text"));
  }
  return names.empty() ? "another model" : schema::alternatives(names);
}

// The examples that a field of the recipe describes; without such a field, those of the kind for `reads` that needs none. Throws
// kInvalidArgument if the field is for another input, or missing; kUnsupported if no kind has this input.
ChosenExamples examples_of(const Recipe& recipe, std::string_view reads) {
  const ChosenExamples& given = recipe.task->data.examples;
  if (given) {
    if (given.kind->reads == reads) return given;
    fail(ErrorCode::kInvalidArgument, "{}: the model reads a {}: expected {} in place of \"task.{}\"", recipe.where, reads,
         fields_for(reads), given.kind->name);
  }
  bool is_known = false;
  for (const ExampleKind* kind : example_kinds()) {
    if (kind->reads != reads) continue;
    if (!kind->fields) return {kind, kind->make(nullptr, recipe.where, "task")};
    is_known = true;
  }
  if (is_known) fail(ErrorCode::kInvalidArgument, "{}: the model reads a {}: expected {}", recipe.where, reads, fields_for(reads));
  fail(ErrorCode::kUnsupported, "{}: there is no task yet for a model that reads a {}", recipe.where, reads);
}

}  // namespace

std::vector<LabelledLine> read_lines(const std::string& file, const Recipe& recipe, LeftOut* left_out) {
  if (recipe.task->data.folds) return read_fold(file, recipe, left_out);
  const std::string reads = what_is_read(recipe.model);
  if (input_kind(reads).is_text() && !recipe.task->data.examples) return read_labelled(file, recipe, left_out);
  std::vector<LabelledLine> out;
  for (LabelledInput& one : read_inputs(file, recipe, reads, left_out)) {
    out.push_back({.labels = {std::move(one.label)}, .where = std::move(one.where), .input = std::move(one.input)});
  }
  return out;
}

std::vector<LabelledInput> read_inputs(const std::string& file, const Recipe& recipe, const std::string& reads, LeftOut* left_out) {
  std::vector<LabelledInput> out = examples_of(recipe, reads)->read(file, recipe, left_out);
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
