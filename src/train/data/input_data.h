// Labelled inputs of networks that do not read one text: documents, stories, pictures. What a file may look like follows from what
// the model reads.
//
//   "document"   JSON lines: the field "text" is a list of sentences, or one text that is cut into them; or a table
//   "picture"    a table or a file of records (picture_data.h)
//   "scene"      made of such pictures, with questions (scene_data.h)
//   "story"      bAbI's form (stories.h)
#pragma once

#include <string>
#include <vector>

#include "clearhead/model.h"
#include "train/data/labelled_data.h"
#include "train/recipe.h"

namespace clearhead {

struct LabelledInput {
  ModelInput input{};
  std::string label{};
  std::string where{};  // "train.jsonl, line 3"
};
/// The inputs of a file of the recipe's task, without those whose label the recipe skips. reads: as ModelInfo::reads. Throws
/// kNotFound with the file and its origin, kFormat with file, line and column, kUnsupported for a kind that has no reader.
std::vector<LabelledInput> read_inputs(const std::string& file, const Recipe& recipe, const std::string& reads,
                                       LeftOut* left_out = nullptr);

/// The lines of a file as the recipe's model reads them: texts, or other inputs.
std::vector<LabelledLine> read_lines(const std::string& file, const Recipe& recipe, LeftOut* left_out = nullptr);

/// The distinct labels of the training file, sorted. Throws what reading it throws, and kInvalidArgument for fewer than `least`.
std::vector<std::string> class_names(const Recipe& recipe, size_t least);
/// The texts of the training file, for a vocabulary.
std::vector<std::string> training_texts(const Recipe& recipe);

}  // namespace clearhead
