// Finds the directory of a model.
#pragma once

#include <string>

namespace clearhead {

/// Returns the directory of a model. Searches in this order: the name as a path, the shipped models (models/NAME), the demo's
/// cache, the local Hugging Face cache. Throws kNotFound with the places that were searched and the download command, and
/// kInvalidArgument if the name is empty or is the path of a file.
std::string model_directory(const std::string& name);

}  // namespace clearhead
