// Reads labelled inputs of networks that do not read one text: documents, stories, pictures, sounds. The kind of input that the model reads
// determines the file format:
//
//   "document"     JSON lines: the field "text" is a list of sentences, or one text that is split into sentences; or a table
//   "picture"      class folders, a table or a file of records (picture_data.h)
//   "scene"        scenes composed of such pictures, with questions (scene_data.h)
//   "spectrogram"  sounds in class folders or in a table (sound_data.h)
//   "story"        bAbI's format (tasks/babi.h)
#pragma once

#include <string>
#include <vector>

#include "clearhead/model.h"
#include "tasks/data/labelled_data.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {

struct LabelledInput {
  ModelInput input{};
  std::string label{};
  std::string where{};  // "train.jsonl, line 3"
};
/// The inputs in a file of the recipe's task, except those whose label the recipe skips. reads: as ModelInfo::reads. Throws
/// kNotFound with the file and its origin, kFormat with file, line and column, kUnsupported for a kind of input without a reader.
std::vector<LabelledInput> read_inputs(const std::string& file, const Recipe& recipe, const std::string& reads,
                                       LeftOut* left_out = nullptr);

/// The lines of a file as the recipe's model reads them: texts, or other inputs.
std::vector<LabelledLine> read_lines(const std::string& file, const Recipe& recipe, LeftOut* left_out = nullptr);

/// The distinct labels of the training file, sorted. Throws whatever reading it throws, and kInvalidArgument for fewer than `least`.
std::vector<std::string> class_names(const Recipe& recipe, size_t least);
/// The texts of the training file, to train a vocabulary.
std::vector<std::string> training_texts(const Recipe& recipe);

}  // namespace clearhead::tasks
