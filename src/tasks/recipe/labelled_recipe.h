// The fields of a recipe that describe its labelled examples: the columns of tables, data that this code splits into folds, and examples
// that are not lines of text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "models/network.h"
#include "tasks/recipe/example_kind.h"
#include "tasks/recipe/schema.h"

namespace clearhead::tasks {

/// Files that are split into folds: fold `hold_out` is for testing, the next one for validation, the others for training
/// (tasks/data/folds.h).
struct FoldRecipe {
  std::vector<std::string> files{};
  int64_t count = 10, hold_out = 0;
  bool validates = true;  // false: no validation; the next fold is also for training, and the model after the last step is saved
};

struct LabelledDataRecipe {
  ProblemType problem = ProblemType::kSingleLabel;  // content of the label column: one label, several labels, or a number
  std::string text{}, pair{}, label{};              // columns
  std::vector<std::string> skip{};                  // examples with these labels are left out
  std::optional<FoldRecipe> folds{};
  ChosenExamples examples{};  // if the recipe describes examples that are not lines of text
  /// The files that this code splits into training, validation and test examples. Empty: the recipe names a file for each.
  std::vector<std::string> files() const { return folds ? folds->files : examples ? examples->files() : std::vector<std::string>{}; }
  /// Returns true if a recipe without validation examples is a mistake.
  bool needs_validation() const { return !folds || folds->validates; }
};

const Schema<FoldRecipe>& fold_schema();

}  // namespace clearhead::tasks
