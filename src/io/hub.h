// The local Hugging Face cache: models already downloaded by other tools, found by repository id. Nothing is ever downloaded here.
//
//   CACHE/models--ORG--NAME/refs/main            holds a revision
//   CACHE/models--ORG--NAME/snapshots/REVISION/  holds the files (links into blobs/)
//
// CACHE is the first of these that is set, as huggingface_hub has it: $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub,
// $XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace clearhead {

struct HubSearch {
  std::string directory;              ///< the snapshot's folder; empty if there is none
  std::vector<std::string> searched;  ///< every place looked at, in order, for the error
};

/// Looks for "org/name" or "name"; a name without org is also found under the only org that has it. What cannot be an id (a path, "..",
/// letters outside A-Z a-z 0-9 . _ -) is not looked for: nothing searched. Reads the environment; throws nothing.
HubSearch find_in_hub(std::string_view repository, std::string_view revision = "main");

}  // namespace clearhead
