// The registry of tasks. Each source file of src/tasks defines one task; CMake lists the files, so no other code names them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "tasks/recipe/recipe.h"
#include "tasks/recipe/schema.h"
#include "tasks/recipe/task.h"

namespace clearhead::tasks {

/// The fields of a recipe that name a task's data.
enum class DataFields : uint8_t {
  kFiles,         // "files": texts
  kPairs,         // "pairs": pairs of texts
  kTask,          // "task", with "train", "valid" and "test"
  kTaskAndPairs,  // "task" without files of its own, and "pairs" beside it
  kGenerated,     // "task" without files: examples are made from the recipe's seed
  kSplit,         // "task" with fields of its own that name the files and determine the split of each example
};

/// The output of a Transformer that a task trains.
enum class TrainedHead : uint8_t { kCausal, kMasked, kClassifier, kNone };

/// The measurement that `clearhead train --test` makes of a model.
enum class TestMethod : uint8_t { kBatches, kTextScores, kTranslations, kTranscripts };

/// A command of `clearhead run` (cli/run/NAME.cc) and the arguments after the model: "answer", "--question \"…\" \"…\"".
struct CommandExample {
  std::string name{}, arguments = "\"…\"";
};

struct TaskDefinition {
  std::string_view name{};         // "task.kind"
  std::string_view description{};  // one line, for `train --fields` and docs/recipe-fields.md
  DataFields data = DataFields::kTask;
  std::vector<std::string_view> reads = {"text"};  // what its models read: values of ModelInfo::reads
  std::string_view output{};                       // ModelInfo::output of its models
  TrainedHead head = TrainedHead::kClassifier;
  std::string_view
      class_suffix{};  // suffix of the Hugging Face class of its models: "ForSequenceClassification"; empty: do not change the config
  TestMethod test = TestMethod::kBatches;
  bool can_hold_out = true;                      // its examples can be split by "held_out"
  bool writes_text = false;                      // generates text: a trained vocabulary gets tokens for the end of a text and padding
  bool has_sequence_targets = false;             // targets belong to whole sequences, not to tokens
  bool (*takes_noise)(const Recipe&) = nullptr;  // null: never

  /// The task's own fields of "task", for the reference.
  std::vector<FieldDescription> (*fields)() = nullptr;
  /// Reads these fields, and sets the recipe's defaults that depend on the task. Null: the task has no fields.
  void (*read)(Fields&, Recipe&) = nullptr;
  /// The commands for the trained model. `choose_command` returns the index of the one for this recipe; null: the first.
  std::vector<CommandExample> commands{};
  size_t (*choose_command)(const Recipe&) = nullptr;
  /// Labels of the training data, in order of id. Null: the task has none.
  std::vector<std::string> (*labels)(const Recipe&) = nullptr;
  /// Adds the task's settings to the model's config. Null: there are none.
  void (*configure)(const Recipe&, Json& model) = nullptr;
  /// The texts that a vocabulary is trained on. Null: the tokenizer must exist.
  std::vector<std::string> (*vocabulary_texts)(const Recipe&) = nullptr;
  /// Copies settings from the model that --test measures to the recipe. Null: none.
  void (*adopt)(const ModelInfo&, Recipe&) = nullptr;
  std::unique_ptr<Task> (*make)(const Recipe&, const Tokenizer&, const TaskFacts&) = nullptr;
};

/// TaskDefinition::make for a task class whose constructor takes recipe and tokenizer, and optionally the network's facts.
template <class T>
std::unique_ptr<Task> make_task(const Recipe& recipe, const Tokenizer& tokenizer, const TaskFacts& facts) {
  if constexpr (std::is_constructible_v<T, const Recipe&, const Tokenizer&, const NetworkFacts&>) {
    return std::make_unique<T>(recipe, tokenizer, *facts.network);
  } else {
    return std::make_unique<T>(recipe, tokenizer);
  }
}

/// Reads a task's own settings into TaskRecipe::settings.
template <class Settings>
void read_settings(const Schema<Settings>& schema, Fields& fields, Recipe& to) {
  Settings settings;
  schema.read(fields, settings);
  to.task->settings = std::move(settings);
}

/// The rows of several tables, for TaskDefinition::fields.
template <class... Schemas>
std::vector<FieldDescription> described_by(const Schemas&... schemas) {
  std::vector<FieldDescription> out;
  const auto add = [&](std::vector<FieldDescription> rows) { out.insert(out.end(), rows.begin(), rows.end()); };
  (add(schemas.describe()), ...);
  return out;
}

/// All tasks, in the order of their file names.
const std::vector<const TaskDefinition*>& task_definitions();
/// The task of a recipe: named by "task.kind", or the task for its "pairs" or "files".
const TaskDefinition& definition_of(const Recipe& recipe);
/// The command for the model that a recipe trains, with the arguments for its kind of examples.
CommandExample command_of(const Recipe& recipe);
/// Finds a task that "task.kind" can name; null if there is none.
const TaskDefinition* find_task(std::string_view name);
/// Values that "task.kind" accepts, in alphabetical order.
std::vector<std::string> task_names();

/// Reads a recipe's "task".
void read_task(const Json& json, Recipe& to);
/// The fields of every recipe, and the fields of the task with this name. Throws kNotFound with the known names.
std::vector<FieldDescription> recipe_fields();
std::vector<FieldDescription> task_fields(std::string_view name);

}  // namespace clearhead::tasks
