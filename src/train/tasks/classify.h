// One class per text, or per pair of texts.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "train/task.h"

namespace clearhead {

std::unique_ptr<Task> classify_task(const Recipe& recipe, const Tokenizer& tokenizer);
/// The classes of the recipe's training file, sorted. Throws what reading it throws, kInvalidArgument for fewer than two.
std::vector<std::string> classes_of(const Recipe& recipe);

}  // namespace clearhead
