// Where a model's files are.
#pragma once

#include <string>

namespace clearhead {

/// The directory of a model name. Searched in this order: the name as a directory, a shipped model (models/NAME), the
/// demo's cache, the local Hugging Face cache. Throws kNotFound with the places searched and the download command,
/// kInvalidArgument for a file.
std::string model_directory(const std::string& name);

}  // namespace clearhead
