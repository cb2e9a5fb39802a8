// Several traces in one viewer, as sources that know one another: the traces of one text that a training run left
// (train/watch.h), shown as steps of a timeline; or any traces, to choose from.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "viewer/source.h"

namespace clearhead {

/// Whether the folder contains step-NNNNNN.trace files.
bool is_watch_folder(const std::string& path);

/// Returns one source per file, in ascending order; each knows all steps. Throws kNotFound if there are no files,
/// kFormat if two are not of the same text, and what Trace::load() throws.
std::vector<LiveSource> open_checkpoints(const std::string& folder, const LiveSource::Options& options);

struct ShownTrace {
  std::shared_ptr<const Trace> trace{};
  std::string state{};    ///< the state it opens with, as in the page's address
  std::string command{};  ///< the command that shows it alone; empty: that of the options
};
/// Returns one source per trace, in the same order.
std::vector<LiveSource> side_by_side(const std::vector<ShownTrace>& traces, const LiveSource::Options& options);

}  // namespace clearhead
