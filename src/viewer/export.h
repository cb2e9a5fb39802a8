// Files to take away: the offline page, and the numbers or the picture of what is on the screen.
//
// The offline page holds what fits a budget (docs/viewer-api.md, "The offline page"):
//   always   text, segments, statistics and 64 × 64 thumbnails of every head, state, versions
//   tier A   all weights of all heads: as they are (f32) where that fits, else one byte each
//   tier B   overviews, the 32 heaviest keys of watched rows and the 8 heaviest of all rows, of the heads that matter most, as many as fit
//   tier C   in place of the 8 heaviest: Q and K in f16 of the pinned heads, rows recomputed by the page
// It may hold several traces (viewer/together.h), which share the budget. It is written whole or not at all.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "clearhead/trace.h"
#include "viewer/loaded_trace.h"

namespace clearhead {

struct ExportOptions {
  std::string command{};               ///< that makes the page again
  std::string state{};                 ///< the page's own state, e.g. "v=read&h=5.3"; of several traces, each has its own
  uint64_t budget_bytes = 20'000'000;  ///< of the file
  double most_work = 4e12;  ///< multiply-adds that looks at whole maps may take: beyond, overviews and top keys of all rows are left out
  LookOptions look{};       ///< progress and cancel
};

/// What the page holds, for a message.
struct ExportedPage {
  char tier = 'A';
  uint64_t bytes = 0;
  std::vector<std::string> holds{};
};

/// One trace, or several that know of each other. Throws kBudget when not even the text and the statistics fit, kIo as files do.
ExportedPage export_html(std::span<LoadedTrace> traces, const std::string& path, const ExportOptions& options = {});

/// The page's bytes.
std::string offline_page(std::span<LoadedTrace> traces, const ExportOptions& options, ExportedPage& page);

struct ExportedFile {
  std::string name{}, type{}, bytes{};
};

/// kind: html, json, npy, png. `state` as in the page's address, without '#'; `budget` for html: "20MB", or empty.
ExportedFile export_file(LoadedTrace& loaded, const std::string& kind, const std::string& state, const std::string& budget,
                         const LookOptions& options = {});

/// "20MB", "1.5 GiB", "4096": bytes. Throws kInvalidArgument.
uint64_t parse_budget(const std::string& text);

/// What the page's state says.
struct ViewState {
  std::string view = "read", family{}, weight = "raw", sink = "mark", direction = "out", scale = "sqrt";
  std::vector<std::pair<int, int64_t>> heads{};  ///< pinned, the first in front
  std::vector<Range> queries{}, keys{};
  std::vector<int64_t> rectangle{};  ///< k0, q0, k1, q1
};
ViewState parse_state(const std::string& state);

}  // namespace clearhead
