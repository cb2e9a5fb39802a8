// One class, several labels, or a number, per text, pair of texts, or input of a network.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "train/task.h"

namespace clearhead {

/// network: of a model that reads something other than a text
std::unique_ptr<Task> classify_task(const Recipe& recipe, const Tokenizer& tokenizer, const std::optional<NetworkFacts>& network);
/// The labels of the recipe's training file, sorted; of a regression one. Throws what reading it throws, kInvalidArgument for fewer than two classes.
std::vector<std::string> classes_of(const Recipe& recipe);

}  // namespace clearhead
