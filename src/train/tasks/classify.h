// One class per text, per pair of texts, or per input of a network.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "train/task.h"

namespace clearhead {

/// network: of a model that reads something other than a text
std::unique_ptr<Task> classify_task(const Recipe& recipe, const Tokenizer& tokenizer, const std::optional<NetworkFacts>& network);
/// The classes of the recipe's training file, sorted. Throws what reading it throws, kInvalidArgument for fewer than two.
std::vector<std::string> classes_of(const Recipe& recipe);

}  // namespace clearhead
