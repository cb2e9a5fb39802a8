// An answer as a span of a text, or none, for a question about it.
#pragma once

#include <memory>

#include "train/task.h"

namespace clearhead {

std::unique_ptr<Task> answer_task(const Recipe& recipe, const Tokenizer& tokenizer);

}  // namespace clearhead
