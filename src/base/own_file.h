// Files whose names this program chooses: those of a run, of a model that is saved, of a tokenizer that was learned.
//
// A symbolic link under such a name leads to something else, often a model that is used elsewhere: writing through it would change
// that. It is refused. (A file that the user names is followed through links, as base/file.h says.)
#pragma once

#include <string>

namespace clearhead {

/// Throws kInvalidArgument, naming what is behind it, if `path` is a symbolic link. Returns `path`.
const std::string& without_link(const std::string& path);

}  // namespace clearhead
