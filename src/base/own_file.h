// Files whose names this program chooses: the files of a run, of a saved model, of a trained tokenizer.
//
// A symbolic link with such a name points to another file, often to a model that is used elsewhere, and writing through it
// would change that file. Such a link is refused. (For a file that the user names, links are followed; see base/file.h.)
#pragma once

#include <string>

namespace clearhead {

/// Returns `path`. Throws kInvalidArgument, naming the target, if it is a symbolic link.
const std::string& without_link(const std::string& path);

}  // namespace clearhead
