// Kinds of training examples that are not lines of text. Each source file of src/tasks/examples defines one: the field of "task" that
// describes its examples in a recipe, the input that a model gets, and the function that reads a file. CMake lists the files, so no other
// code names them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clearhead/model.h"
#include "tasks/recipe/schema.h"

namespace clearhead::tasks {

struct LeftOut;
struct Recipe;

/// An input of a model with its label.
struct LabelledInput {
  ModelInput input{};
  std::string label{};
  std::string where{};  // "train.jsonl, line 3"
};

/// The examples that one recipe describes.
class Examples {
 public:
  virtual ~Examples() = default;
  /// Reads a file or a folder of the recipe's data; if files() is not empty, `file` is the name of a split (TaskRecipe::kParts). Throws
  /// kNotFound, naming the file and where to get it; kFormat and kShape with the location of the example.
  virtual std::vector<LabelledInput> read(const std::string& file, const Recipe& recipe, LeftOut* left_out) const = 0;
  /// True if "task.label" names the column with the labels.
  virtual bool has_label_column() const { return true; }
  /// Files whose examples read() splits into training, validation and test. Empty: the recipe names a file for each.
  virtual std::vector<std::string> files() const { return {}; }
  /// Adds settings to a new model's config that apply wherever the model is used.
  virtual void configure(const Recipe&, Json&) const {}
  /// Adds to a saved model's config the settings, and to its directory the files, that are needed to run it.
  virtual void save(const std::string& /*directory*/, Json& /*config*/) const {}
  /// Changes the features of training batch `number` at random, depending only on the seed and the number (data augmentation).
  virtual void augment(Tensor&, uint64_t, uint64_t) const {}
  /// As Task::attention_metrics.
  virtual std::vector<std::pair<std::string, double>> attention_metrics(const Model&, const Recipe&) const { return {}; }
};

struct ExampleKind {
  std::string_view name{};               // the field "task.NAME"; for examples that need no settings, a name for the registry only
  std::string_view reads{};              // ModelInfo::reads of models for these examples
  std::string_view meaning{};            // of the field, for the reference
  const char* counted = "texts";         // what the data summary counts
  std::string_view arguments = "\"…\"";  // of `clearhead run COMMAND MODEL`
  /// Describes the fields of "task.NAME". Null: no such field; read() finds the examples by the recipe's columns or the file's format.
  std::vector<FieldDescription> (*fields)() = nullptr;
  /// Makes the examples of a recipe from the object "task.NAME"; `object` is null if there is no such field. Throws as Schema::read.
  std::unique_ptr<Examples> (*make)(const Json* object, const std::string& where, const std::string& path) = nullptr;
};

/// All kinds, in the order of their file names.
const std::vector<const ExampleKind*>& example_kinds();

/// The examples of a recipe's field "task.NAME".
struct ChosenExamples {
  const ExampleKind* kind = nullptr;
  std::shared_ptr<const Examples> examples{};
  explicit operator bool() const { return kind != nullptr; }
  const Examples* operator->() const { return examples.get(); }
};
/// Reads the field "task.NAME" that the recipe has, if any. Throws kFormat if it has two.
ChosenExamples read_examples(Fields& fields);
/// The rows of the reference for all such fields.
std::vector<FieldDescription> example_fields();

/// ExampleKind::fields and ExampleKind::make of an Examples whose constructor takes the settings that schema() reads.
template <auto schema>
std::vector<FieldDescription> fields_of() {
  return schema().describe();
}
template <class Made, auto schema>
std::unique_ptr<Examples> make_examples(const Json* object, const std::string& where, const std::string& path) {
  return std::make_unique<Made>(schema().read(*object, where, path));
}

}  // namespace clearhead::tasks
