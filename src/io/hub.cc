// Maps a repository id to its snapshot folder in the cache. A name without an organisation matches if exactly one
// organisation has it. Names that would lead out of the cache are never looked up.
#include "io/hub.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "clearhead/error.h"

namespace clearhead::io {
namespace {

namespace fs = std::filesystem;

bool is_name(std::string_view text) {
  if (text.empty() || text.size() > 96 || text.front() == '.' || text.front() == '-' || text.back() == '.' || text.back() == '-')
    return false;
  if (text.find("..") != std::string_view::npos || text.find("--") != std::string_view::npos) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

fs::path cache() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const std::string value = variable(name); !value.empty()) return value;
  }
  if (const std::string home = variable("HF_HOME"); !home.empty()) return fs::path(home) / "hub";
  if (const std::string home = variable("XDG_CACHE_HOME"); !home.empty()) return fs::path(home) / "huggingface" / "hub";
  if (const std::string home = variable("HOME"); !home.empty()) return fs::path(home) / ".cache" / "huggingface" / "hub";
  return {};
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

// Folders below `parent` whose names satisfy `wanted`, sorted.
template <class Wanted>
std::vector<fs::path> folders(const fs::path& parent, const Wanted& wanted) {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (fs::directory_iterator at(parent, ignored), end; !ignored && at != end; at.increment(ignored)) {
    if (is_folder(at->path()) && wanted(at->path().filename().string())) found.push_back(at->path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

// Returns the revision that a ref names. A string that is not a ref is a revision itself.
std::string resolve(const fs::path& repository, std::string_view revision) {
  const fs::path ref = repository / "refs" / revision;
  std::error_code ignored;
  if (!fs::is_regular_file(ref, ignored)) return std::string(revision);
  try {
    std::string hash = read_config(ref.string());
    while (!hash.empty() && (hash.back() == '\n' || hash.back() == '\r' || hash.back() == ' ')) hash.pop_back();
    return is_name(hash) ? hash : std::string(revision);
  } catch (const Error&) {
    return std::string(revision);
  }
}

std::string snapshot_of(const fs::path& repository, std::string_view revision, std::vector<std::string>& searched) {
  const fs::path wanted = repository / "snapshots" / resolve(repository, revision);
  searched.push_back(wanted.string());
  return is_folder(wanted) ? wanted.string() : std::string();
}

}  // namespace

HubSearch find_in_hub(std::string_view repository, std::string_view revision) {
  HubSearch search;
  const size_t slash = repository.find('/');
  const std::string_view name = slash == std::string_view::npos ? repository : repository.substr(slash + 1);
  const std::string_view org = slash == std::string_view::npos ? std::string_view() : repository.substr(0, slash);
  const fs::path hub = cache();
  if (hub.empty() || !is_name(name) || (slash != std::string_view::npos && !is_name(org)) || !is_name(revision)) return search;

  const std::string tail = "--" + std::string(name);
  const fs::path own = hub / ("models" + (org.empty() ? "" : "--" + std::string(org)) + tail);
  search.directory = snapshot_of(own, revision, search.searched);
  if (!search.directory.empty() || !org.empty()) return search;

  const std::vector<fs::path> others = folders(hub, [&](const std::string& folder) {
    return folder.starts_with("models--") && folder.ends_with(tail) && folder.size() > tail.size() + 8 &&
           is_name(std::string_view(folder).substr(8, folder.size() - 8 - tail.size()));
  });
  if (others.size() == 1) {
    search.directory = snapshot_of(others.front(), revision, search.searched);
  } else {  // no organisation or several: the caller's message lists them
    for (const fs::path& other : others) search.searched.push_back(other.string());
  }
  return search;
}

}  // namespace clearhead::io
