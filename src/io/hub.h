// Finds models in the local Hugging Face cache by repository id. Nothing is downloaded.
//
//   CACHE/models--ORG--NAME/refs/main            holds a revision
//   CACHE/models--ORG--NAME/snapshots/REVISION/  holds the files (links into blobs/)
//
// CACHE is the first of these that is set, as in huggingface_hub: $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub,
// $XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace clearhead::io {

struct HubSearch {
  std::string directory;              ///< folder of the snapshot; empty: not found
  std::vector<std::string> searched;  ///< places searched, in order, for the error message
};

/// Looks for "org/name" or "name". A name without an organisation also matches if exactly one organisation has it. A
/// string that cannot be an id (a path, "..", characters outside A-Z a-z 0-9 . _ -) is not searched for. Reads the
/// environment; never throws.
HubSearch find_in_hub(std::string_view repository, std::string_view revision = "main");

}  // namespace clearhead::io
