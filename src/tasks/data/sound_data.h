// Labelled sounds: class folders (class_folder.h), or a table whose cells have the paths of sound files, relative to the table's folder.
#pragma once

#include <string>
#include <vector>

#include "models/network.h"
#include "tasks/data/input_data.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {

/// The length of the sounds that the recipe's model reads, and whether the recipe pads and cuts others. Throws kFormat for a config
/// that does not state it.
SoundFacts sounds_of(const Recipe& recipe);
/// Reads sounds, in the length of the model. Throws kNotFound; kFormat, kShape and kInvalidArgument with the path of the sound.
std::vector<LabelledInput> read_sounds(const std::string& file, const Recipe& recipe);

}  // namespace clearhead::tasks
