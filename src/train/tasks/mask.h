// Masked words: tokens of a text that are hidden, and foretold from both sides.
#pragma once

#include <memory>

#include "train/task.h"

namespace clearhead {

/// Throws kUnsupported for a tokenizer without a mask token.
std::unique_ptr<Task> mask_task(const Recipe& recipe, const Tokenizer& tokenizer);

}  // namespace clearhead
