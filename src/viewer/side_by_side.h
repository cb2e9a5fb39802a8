// Several traces in one viewer, each with a list of all of them: either the traces of one text that a training run wrote
// (train/watch.h), shown as steps of a timeline, or any traces to choose from.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "viewer/loaded_trace.h"

namespace clearhead::viewer {

/// Returns true if the folder contains step-NNNNNN.trace files.
bool is_watch_folder(const std::string& path);

/// Returns one loaded trace per file, in ascending order; each lists all steps. Throws kNotFound if there are no files,
/// kFormat if two traces are not of the same text, and what Trace::load() throws.
std::vector<LoadedTrace> open_checkpoints(const std::string& folder, const LoadedTrace::Options& options);

struct ShownTrace {
  std::shared_ptr<const Trace> trace{};
  std::string state{};                          ///< the initial state, as in the page's address
  std::string command{};                        ///< the command that shows it alone; empty: that of the options
  GalleryCard card{};                           ///< if two or more traces have one, the page opens on a gallery
  std::shared_ptr<const Model> model{};         ///< the model that it is a trace of; may be absent
  std::vector<explain::ShownAnswer> answers{};  ///< of the model, if they are known
};
/// Returns one loaded trace per trace, in the same order.
std::vector<LoadedTrace> side_by_side(const std::vector<ShownTrace>& traces, const LoadedTrace::Options& options);

}  // namespace clearhead::viewer
