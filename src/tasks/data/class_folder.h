// A folder whose subfolders are classes, as torchvision's ImageFolder reads it:
//
//   train/cat/1.png   train/cat/more/2.jpg   train/dog/1.png
//
// The label of a file is the name of its class folder, at any depth below it. Hidden files and folders (".DS_Store") are ignored.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tasks/data/input_data.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {

/// Reads all files of a folder in the recipe's data folder, sorted by class and by path. `read` makes the input of a file.
/// what: "picture" or "sound", for messages. Throws kNotFound; kFormat, naming the path, for a folder without class folders, an empty
/// class folder, a file that stands beside the class folders, and a file that `read` refuses with kFormat.
std::vector<LabelledInput> read_class_folder(const std::string& folder, const Recipe& recipe, const char* what,
                                             const std::function<ModelInput(const std::string& path)>& read);

}  // namespace clearhead::tasks
