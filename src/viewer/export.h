// Exports: the offline page, and what is on the screen as numbers or as a picture.
//
// The offline page holds what fits a budget (docs/viewer-api.md, "The offline page"):
//   always   text, segments, state and versions; statistics and a 64 × 64 thumbnail of every head
//   tier A   all weights of all heads: in f32 if that fits, else in one byte each
//   tier B   overviews, the 32 heaviest keys of watched rows and the 8 heaviest of all rows, for as many heads as fit,
//            the most important ones first
//   tier C   for pinned heads Q and K in f16, from which the page recomputes rows, in place of the 8 heaviest keys
// It may hold several traces (viewer/together.h), which share the budget. The file is written completely or not at all.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "clearhead/trace.h"
#include "viewer/loaded_trace.h"

namespace clearhead {

struct ExportOptions {
  std::string command{};  ///< the command that makes the page again
  /// The page's own state, e.g. "v=read&h=5.3"; with several traces, each has its own.
  std::string state{};
  uint64_t budget_bytes = 20'000'000;  ///< size of the file
  /// multiply-adds that looks at whole maps may take; with more, overviews and top keys of all rows are left out.
  double most_work = 4e12;
  LookOptions look{};  ///< progress and cancel
};

/// What the page holds, to be reported to the user.
struct ExportedPage {
  char tier = 'A';
  uint64_t bytes = 0;
  std::vector<std::string> holds{};
};

/// Exports one trace, or several that know one another. Throws kBudget if not even text and
/// statistics fit, kIo as for any file.
ExportedPage export_html(std::span<LoadedTrace> traces, const std::string& path, const ExportOptions& options = {});

/// The page's bytes.
std::string offline_page(std::span<LoadedTrace> traces, const ExportOptions& options, ExportedPage& page);

struct ExportedFile {
  std::string name{}, type{}, bytes{};
};

/// kind: html, json, npy or png. `state` as in the page's address, without '#'. `budget`, for html: "20MB", or empty.
ExportedFile export_file(LoadedTrace& loaded, const std::string& kind, const std::string& state, const std::string& budget,
                         const LookOptions& options = {});

/// "20MB", "1.5 GiB", "4096" → bytes. Throws kInvalidArgument.
uint64_t parse_budget(const std::string& text);

}  // namespace clearhead
