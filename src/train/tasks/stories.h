// Questions about stories, in bAbI's form (Weston et al. 2015): numbered lines, number 1 begins a story. A statement is a text; a
// question has tabs: the question, its answer, the numbers of the statements that support it.
//
//   1 Mary moved to the bathroom.
//   2 John went to the hallway.
//   3 Where is Mary? 	bathroom	1
//
// A question is asked of the statements above it; earlier questions are no statements. Its answer, a word or a list, is one label.
// Several files are learned together: "qa{1..20}_train.txt" is qa1_train.txt, …, qa20_train.txt, each a subject of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "train/data/input_data.h"
#include "train/task.h"

namespace clearhead {

struct StoryQuestion {
  LabelledInput asked{};
  int32_t file = 0;                 // number of its file
  std::vector<int32_t> supports{};  // statements, from 0
};
/// {"qa1_train.txt", …} of "qa{1..20}_train.txt"; a name without braces is itself. Throws kFormat for other braces.
std::vector<std::string> expanded(const std::string& files, const std::string& where);
/// Throws kNotFound with the file and its origin, kFormat with file, line and column.
std::vector<StoryQuestion> read_stories(const std::string& files, const Recipe& recipe);

}  // namespace clearhead
