// --lines: one answer for each line of a text, in order. Lines are read, answered and printed window by window, so memory does
// not grow with the length of the text. Within a window, lines of similar length run in one batch.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "clearhead/answers.h"
#include "cli/cli.h"

namespace clearhead::cli {

struct Window {
  std::vector<std::string> lines{};  ///< without line ends
  BatchOptions options{};            ///< names lines in errors, reports progress
};

struct TextCommandBase;

/// Answers all lines of the command's text, in order. For a refused line (too long, or without a mask), the output is an empty line, or
/// {"error": …} with JSON, and the reason goes to stderr; at the end, kInvalidArgument reports the number of such lines. Throws
/// immediately on an error that concerns all lines. After an interrupt, the output contains complete lines only.
void answer_lines(TextCommandBase& command, const Model& model);

/// True for a line of spaces and tabs, or an empty one.
bool is_blank(const std::string& line);

/// Answers the lines of a window that are not blank; each blank line gets Answer(). `ask` receives these lines, and options whose
/// names use the line numbers of the whole text.
template <class Answer, class Ask>
std::vector<Answer> answers_of_nonblank(const Window& window, const Ask& ask) {
  std::vector<std::string> lines;
  std::vector<size_t> places;
  for (size_t line = 0; line < window.lines.size(); ++line) {
    if (is_blank(window.lines[line])) continue;
    lines.push_back(window.lines[line]);
    places.push_back(line);
  }
  BatchOptions options = window.options;
  options.name = [&](size_t index) { return window.options.name(places[index]); };
  std::vector<Answer> found = ask(lines, options), out(window.lines.size());
  for (size_t index = 0; index < places.size(); ++index) out[places[index]] = std::move(found[index]);
  return out;
}

}  // namespace clearhead::cli
