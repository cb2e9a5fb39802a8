// One part (training, validation or test) of a data set that is generated from the recipe's seed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/random.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {

struct GeneratedPart {
  int64_t count = 0;  // number of examples
  RandomSequence random;
};

/// The number of examples in a part, and its random numbers, which no other part shares.
///
/// part: one of TaskRecipe::kParts   task_seed: a constant that distinguishes the task from others with the same recipe seed
/// examples: number of training examples; the validation and the test part each have a tenth of it, but at least one
inline GeneratedPart generated_part(const Recipe& recipe, const std::string& part, uint64_t task_seed, int64_t examples) {
  const size_t index = TaskRecipe::part_index(part);
  return {index == 0 ? examples : std::max<int64_t>(1, examples / 10),
          RandomSequence(random_bits(random_bits(recipe.seed, task_seed), index))};
}

}  // namespace clearhead::tasks
