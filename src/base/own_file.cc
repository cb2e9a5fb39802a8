// Inspects the path itself, not the target of a symbolic link.
#include "base/own_file.h"

#include <filesystem>

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead {

const std::string& without_link(const std::string& path) {
  std::error_code problem;
  if (!std::filesystem::is_symlink(path, problem)) return path;
  const std::string target = std::filesystem::read_symlink(path, problem).string();
  fail(ErrorCode::kInvalidArgument, "{}: is a symbolic link to {}, which would be overwritten; remove the link, or give another folder",
       path, target);
}

}  // namespace clearhead
