// --lines: one answer for each line of a text, in its order. Lines are read, answered and printed window by window, so memory
// is that of one window, whatever the length of the text; within a window, lines of similar length run in one batch.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "clearhead/answers.h"
#include "cli/cli.h"

namespace clearhead::cli {

struct Window {
  std::vector<std::string> lines{};  ///< without what ends them
  BatchOptions options{};            ///< names lines in errors, reports progress
};

/// A task that is run over many lines.
struct LineTask {
  const char* what = "";          ///< for the line of progress
  Interventions interventions{};  ///< of every line
  bool json = false, prints = true;
  /// The lines of output for a window, one for each line, without its end; nothing if nothing is printed. May throw for a line.
  std::function<std::vector<std::string>(const Window&)> answer{};
  std::string empty{};                 ///< output for a blank line that `answer` refuses
  std::function<void()> unanswered{};  ///< called, in order, for each line that has no answer
  std::function<void()> finish{};      ///< called when all lines were read, before lines without an answer are counted
};

/// Answers all lines of a text, in order. A line that is refused (too long, no mask in it) has an empty line of output, as JSON
/// {"error": …}, and a line on stderr; at the end, kInvalidArgument says how many there were. Throws at once for what concerns
/// all lines. An interrupt leaves whole lines.
void answer_lines(const TextArguments& text, const LineTask& task);

}  // namespace clearhead::cli
