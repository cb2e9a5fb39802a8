// One tag per word: entities in B-TYPE, I-TYPE and O.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "train/task.h"

namespace clearhead {

std::unique_ptr<Task> tag_task(const Recipe& recipe, const Tokenizer& tokenizer);
/// The tags of the recipe's training file: O first, then sorted. Throws what reading it throws.
std::vector<std::string> tags_of(const Recipe& recipe);

}  // namespace clearhead
