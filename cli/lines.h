// --lines: one answer for each line of a text, in order. Lines are read, answered and printed window by window, so memory does
// not grow with the length of the text. Within a window, lines of similar length run in one batch.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "clearhead/answers.h"
#include "cli/cli.h"

namespace clearhead::cli {

struct Window {
  std::vector<std::string> lines{};  ///< without line ends
  BatchOptions options{};            ///< names lines in errors, reports progress
};

/// A task that runs on many lines.
struct LineTask {
  const char* what = "";          ///< shown in the progress line
  Interventions interventions{};  ///< applied to every line
  bool json = false, prints = true;
  /// Returns the output for a window, one string per line, without line ends; empty if nothing is printed. May throw for a line.
  std::function<std::vector<std::string>(const Window&)> answer{};
  std::string empty{};                 ///< output for a blank line that `answer` refuses
  std::function<void()> unanswered{};  ///< called, in order, for each line without an answer
  std::function<void()> finish{};      ///< called after the last line, before the error for unanswered lines is thrown
};

/// Answers all lines of a text, in order. For a refused line (too long, or without a mask), the output is an empty line, or
/// {"error": …} with JSON, and the reason goes to stderr; at the end, kInvalidArgument reports the number of such lines. Throws
/// immediately on an error that concerns all lines. After an interrupt, the output contains complete lines only.
void answer_lines(const TextArguments& text, const LineTask& task);

}  // namespace clearhead::cli
