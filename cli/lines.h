// --lines: one answer for each line of a text, in its order. Lines are read, answered and printed window by window, so memory is that of a window whatever the
// length of the text; within a window those of like length run together.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/cli.h"

namespace clearhead::cli {

struct Window {
  std::vector<std::string> lines{};  ///< without what ends them
  BatchOptions options{};            ///< names lines in errors, reports progress
};

/// Calls `answer` for every window. It returns a line of output for each line, without its end; nothing for nothing to print.
/// An interrupt leaves whole lines.
void each_window(const TextArguments& text, const char* what, const Interventions& interventions,
                 const std::function<std::vector<std::string>(const Window&)>& answer);

}  // namespace clearhead::cli
