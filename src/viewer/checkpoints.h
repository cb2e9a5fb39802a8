// The traces that a training run left of one text (train/watch.h), as sources in the order of their steps.
#pragma once

#include <string>
#include <vector>

#include "viewer/source.h"

namespace clearhead {

/// Does the folder hold step-NNNNNN.trace files?
bool is_watch_folder(const std::string& path);

/// One source a file, ascending; each knows all steps. Throws kNotFound where there is none, kFormat where two are not of the same text, and what
/// Trace::load() throws.
std::vector<LiveSource> open_checkpoints(const std::string& folder, const LiveSource::Options& options);

}  // namespace clearhead
