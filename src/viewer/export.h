// Exports: the offline page, and the current view as numbers or as a picture.
//
// The offline page contains as much as fits a budget (docs/viewer-api.md, "The offline page"):
//   always   text, segments, state and versions; statistics and a 64 × 64 thumbnail of every head
//   tier A   all weights of all heads: in f32 if that fits, else in one byte each
//   tier B   overviews, the 32 heaviest keys of the chosen and of the last 1,024 rows, and the 8 heaviest keys of all rows, for as many
//            heads as fit, the most important heads first
//   tier C   for pinned heads, Q and K in f16, from which the page recomputes rows, instead of the 8 heaviest keys
// The page may contain several traces (viewer/side_by_side.h), which share the budget. The file is written completely or not at all.
// A site is the same page with its data in files beside it, which a web server serves and the page fetches when they are needed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "clearhead/trace.h"
#include "viewer/loaded_trace.h"

namespace clearhead::viewer {

struct ExportOptions {
  std::string command{};  ///< the command that recreates the page
  /// The initial state of the page, for example "v=read&h=5.3". With several traces, each has its own.
  std::string state{};
  uint64_t budget_bytes = 20'000'000;  ///< maximum size of the file, or of the site
  /// Limit in multiply-adds for passes over whole maps. Beyond it, overviews and the top keys of all rows are left out.
  double most_work = 4e12;
  /// Also put the engine and the models of the traces into the page, which then computes (page_engine.h).
  bool with_models = false;
  LookOptions look{};  ///< progress and cancel
};

/// The contents of the page, to be reported to the user.
struct ExportedPage {
  char tier = 'A';
  uint64_t bytes = 0;
  std::vector<std::string> holds{};
};

/// Exports one trace, or several that were opened together. Throws kBudget if not even the text and the
/// statistics fit, and kIo as for any file.
ExportedPage export_html(std::span<LoadedTrace> traces, const std::string& path, const ExportOptions& options = {});

/// Writes a site: FOLDER/index.html and FOLDER/data/. Throws kInvalidArgument if the folder exists and is not empty, otherwise as
/// export_html. The folder is written completely or not at all.
ExportedPage export_site(std::span<LoadedTrace> traces, const std::string& folder, const ExportOptions& options = {});

/// Throws kInvalidArgument unless the path is free or an empty folder.
void check_new_folder(const std::string& path);

/// Returns the bytes of the page.
std::string offline_page(std::span<LoadedTrace> traces, const ExportOptions& options, ExportedPage& page);

/// Returns a page without data for a frame whose host answers its requests (docs/viewer-api.md, "A page in a frame").
std::string framed_page();

struct ExportedFile {
  std::string name{}, type{}, bytes{};
};

/// kind: html, json, npy, png, svg, pdf or tikz. `state` is as in the page's address, without '#'. `budget`, for html: "20MB", or empty.
ExportedFile export_file(LoadedTrace& loaded, const std::string& kind, const std::string& state, const std::string& budget,
                         const LookOptions& options = {});

/// "20MB", "1.5 GiB", "4096" → bytes. Throws kInvalidArgument.
uint64_t parse_budget(const std::string& text);

}  // namespace clearhead::viewer
