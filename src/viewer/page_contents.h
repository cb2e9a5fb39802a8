// The data of an offline page, before it is written into one file or into the files of a site.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "viewer/export.h"
#include "viewer/page_blobs.h"

namespace clearhead::viewer {

struct PageContents {
  Json::Array manifests{};           ///< one per trace
  std::vector<std::string> blobs{};  ///< deflated frames; the manifests name them by their position
  std::string script{};              ///< an element with the script of the engine; empty for a page that does not compute
  ExportedPage told{};               ///< without its size
};

/// Selects what the page contains, within options.budget_bytes less the `beside` bytes of the page itself. Throws kBudget if not even the
/// text and the statistics fit.
PageContents page_contents(std::span<LoadedTrace> traces, const ExportOptions& options, BlobPlace place, uint64_t beside);

}  // namespace clearhead::viewer
