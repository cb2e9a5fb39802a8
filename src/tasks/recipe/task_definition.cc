// Finds a recipe's task, and reads the fields that every task with a "task" field has.
#include "tasks/recipe/task_definition.h"

#include <algorithm>
#include <tuple>

#include "base/format.h"
#include "clearhead/error.h"
#include "tasks/data/held_out.h"

namespace clearhead::tasks {
namespace {

using namespace schema;

bool has_task_field(const TaskDefinition& task) { return task.data != DataFields::kFiles && task.data != DataFields::kPairs; }

// True if the recipe names files for training, validation and testing. Folds and some kinds of examples are split by this code, and a task
// on pairs has its files in "pairs".
bool has_own_files(const TaskRecipe& task) { return find_task(task.kind)->data == DataFields::kTask && task.data.files().empty(); }

using Rows = std::vector<Field<TaskRecipe>>;

bool can_hold_out(const TaskRecipe& task) { return has_own_files(task) && find_task(task.kind)->can_hold_out; }

Rows file_rows() {
  const Field<TaskRecipe> file = required_string("valid", &TaskRecipe::valid, "the validation file");
  Rows validation = validation_fields(&TaskRecipe::held_out, file);
  Field<TaskRecipe> valid = validation[1];
  valid.read = [read = valid.read, required = file.read](Fields& fields, TaskRecipe& to) {
    (can_hold_out(to) ? read : required)(fields, to);
  };
  return {
      required_string("train", &TaskRecipe::train, "the training file; for speech recognition, the name of the split").when(has_own_files),
      std::move(validation[0]).when(can_hold_out),
      std::move(valid).when(has_own_files),
      string("test", &TaskRecipe::test, "the test file, for --test").when(has_own_files),
  };
}

Rows common_rows() {
  return {
      strings("labels", &TaskRecipe::labels, "those of the training file, sorted", "labels in the order of their ids")
          .when([](const TaskRecipe& task) { return find_task(task.kind)->labels != nullptr; }),
      string("best", &TaskRecipe::best, "the metric that selects the best model, or loss").with_fallback("the task's first metric"),
      integer("patience", &TaskRecipe::patience, {0},
              "early stopping: end the run after this many validations without a better model; 0: never"),
  };
}

const Schema<TaskRecipe>& common_schema() {
  static const Schema<TaskRecipe> schema({file_rows(), common_rows()});
  return schema;
}

}  // namespace

const TaskDefinition* find_task(std::string_view name) {
  for (const TaskDefinition* task : task_definitions()) {
    if (has_task_field(*task) && task->name == name) return task;
  }
  return nullptr;
}

std::vector<std::string> task_names() {
  std::vector<std::string> out;
  for (const TaskDefinition* task : task_definitions()) {
    if (has_task_field(*task)) out.emplace_back(task->name);
  }
  return out;
}

const TaskDefinition& definition_of(const Recipe& recipe) {
  if (recipe.task) return *find_task(recipe.task->kind);
  const DataFields data = recipe.pairs ? DataFields::kPairs : DataFields::kFiles;
  const auto& all = task_definitions();
  return **std::find_if(all.begin(), all.end(), [&](const TaskDefinition* task) { return task->data == data; });
}

CommandExample command_of(const Recipe& recipe) {
  const TaskDefinition& task = definition_of(recipe);
  CommandExample out = task.commands.at(task.choose_command ? task.choose_command(recipe) : 0);
  const bool is_default = out.arguments == CommandExample{}.arguments;
  if (is_default && recipe.task && recipe.task->data.examples) out.arguments = recipe.task->data.examples.kind->arguments;
  return out;
}

void read_task(const Json& json, Recipe& to) {
  Fields fields(json, to.where, "task");
  to.task = TaskRecipe{.kind = fields.string("kind")};
  const TaskDefinition* task = find_task(to.task->kind);
  if (!task) fields.wrong("kind", schema::alternatives(task_names()), Json(to.task->kind));
  const bool wants_pairs = task->data == DataFields::kTaskAndPairs;
  if (wants_pairs != to.pairs.has_value()) {
    std::vector<std::string> of_pairs;
    for (const TaskDefinition* one : task_definitions()) {
      if (one->data == DataFields::kTaskAndPairs) of_pairs.emplace_back(one->name);
    }
    fields.wrong("kind",
                 wants_pairs ? "another task, or \"pairs\" in addition to it" : alternatives(of_pairs) + ", because \"pairs\" is given",
                 Json(to.task->kind));
  }
  to.batch = 32;
  to.length = 128;
  if (task->read) task->read(fields, to);
  common_schema().read(fields, *to.task);
  if (!to.task->data.files().empty() || task->data == DataFields::kGenerated) {
    const auto& parts = TaskRecipe::kParts;
    std::tie(to.task->train, to.task->valid, to.task->test) = std::tuple(parts[0], parts[1], parts[2]);
  }
  fields.refuse_rest();
}

std::vector<FieldDescription> task_fields(std::string_view name) {
  const TaskDefinition* task = find_task(name);
  if (!task) fail(ErrorCode::kNotFound, "there is no task \"{}\"; expected {}", name, schema::alternatives(task_names()));
  std::vector<FieldDescription> out = {{"kind", std::string(name), "required", std::string(task->description)}};
  if (task->fields) {
    for (FieldDescription& row : task->fields()) out.push_back(std::move(row));
  }
  for (FieldDescription& row : common_schema().describe()) {
    const bool is_file = row.name == "train" || row.name == "valid" || row.name == "test" || row.name == "held_out";
    const bool is_label = row.name == "labels";
    if ((is_file && task->data != DataFields::kTask) || (is_label && !task->labels)) continue;
    if (row.name == "held_out" && !task->can_hold_out) continue;
    if (row.name == "valid" && !task->can_hold_out) row.fallback = "required";
    out.push_back(std::move(row));
  }
  return out;
}

}  // namespace clearhead::tasks
