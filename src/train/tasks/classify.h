// One class, several labels, or a number, per text or pair of texts.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "train/task.h"

namespace clearhead {

std::unique_ptr<Task> classify_task(const Recipe& recipe, const Tokenizer& tokenizer);
/// The labels of the recipe's training file, sorted; of a regression one. Throws what reading it throws, kInvalidArgument for fewer than two classes.
std::vector<std::string> classes_of(const Recipe& recipe);

}  // namespace clearhead
