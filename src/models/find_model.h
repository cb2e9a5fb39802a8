// Where a model's files are.
#pragma once

#include <string>

namespace clearhead {

/// The directory a name stands for, looked for in this order: a directory, a shipped model (models/NAME), the demo's cache, the local Hugging Face cache.
/// Throws kNotFound listing the places searched and the command that downloads it, kInvalidArgument for a file.
std::string model_directory(const std::string& name);

}  // namespace clearhead
