// Reads questions about stories in bAbI's format (Weston et al. 2015): numbered lines, where number 1 begins a story. A statement is a
// text; a question has tab-separated fields: the question, its answer, the numbers of the supporting statements.
//
//   1 Mary moved to the bathroom.
//   2 John went to the hallway.
//   3 Where is Mary? 	bathroom	1
//
// A question refers to the statements above it; earlier questions are not statements. An answer is one label, even if it is a
// list ("apple,milk").
// Several files can be learned together: "qa{1..20}_train.txt" stands for qa1_train.txt, …, qa20_train.txt, each of which is a
// separate task.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tasks/data/input_data.h"
#include "tasks/recipe/task.h"

namespace clearhead::tasks {

struct StoryQuestion {
  LabelledInput asked{};
  int32_t file = 0;                 // index of its file in expanded(files)
  std::vector<int32_t> supports{};  // indices of the supporting statements in asked.input.texts
};
/// Expands "qa{1..20}_train.txt" to {"qa1_train.txt", …}; a name without braces expands to itself. Throws kFormat for other braces.
std::vector<std::string> expanded(const std::string& files, const std::string& where);
/// Reads the questions of all files that `files` expands to. Throws kNotFound, naming the file and where to get it (TextSource::origin);
/// kFormat with file, line and column.
std::vector<StoryQuestion> read_stories(const std::string& files, const Recipe& recipe);

}  // namespace clearhead::tasks
