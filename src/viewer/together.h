// Several traces in one viewer that know of each other: the traces that a training run left of one text (train/watch.h), which are steps of
// a timeline, or any traces, to choose from.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "viewer/loaded_trace.h"

namespace clearhead {

/// Does the folder hold step-NNNNNN.trace files?
bool is_watch_folder(const std::string& path);

/// One a file, ascending; each knows all steps. Throws kNotFound where there is none, kFormat where two are not of the same text, and what
/// Trace::load() throws.
std::vector<LoadedTrace> open_checkpoints(const std::string& folder, const LoadedTrace::Options& options);

struct ShownTrace {
  std::shared_ptr<const Trace> trace{};
  std::string state{};    ///< what it opens with, as in the page's address
  std::string command{};  ///< that shows it alone; empty: the options'
};
/// One a trace, in their order.
std::vector<LoadedTrace> side_by_side(const std::vector<ShownTrace>& traces, const LoadedTrace::Options& options);

}  // namespace clearhead
