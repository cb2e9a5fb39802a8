#include "viewer/checkpoints.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/format.h"

namespace clearhead {
namespace {

// The step of "step-000120.trace", or −1.
int64_t step_of(const std::string& name) {
  constexpr std::string_view kBegin = "step-", kEnd = ".trace";
  if (name.size() <= kBegin.size() + kEnd.size() || !name.starts_with(kBegin) || !name.ends_with(kEnd)) return -1;
  const std::string digits = name.substr(kBegin.size(), name.size() - kBegin.size() - kEnd.size());
  const bool is_number = digits.size() <= 15 && digits.find_first_not_of("0123456789") == std::string::npos;
  return is_number ? std::stoll(digits) : -1;
}

// [step, path], ascending.
std::vector<std::pair<int64_t, std::string>> files_of(const std::string& folder) {
  std::vector<std::pair<int64_t, std::string>> files;
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(folder, problem)) {
    const int64_t step = step_of(entry.path().filename().string());
    if (step >= 0) files.emplace_back(step, entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

bool is_watch_folder(const std::string& path) { return !files_of(path).empty(); }

std::vector<LiveSource> open_checkpoints(const std::string& folder, const LiveSource::Options& options) {
  const auto files = files_of(folder);
  if (files.empty()) fail(ErrorCode::kNotFound, "{}: there is no step-NNNNNN.trace in it; expected RUN/watch of a training run", folder);
  std::vector<std::shared_ptr<const Trace>> traces;
  LiveSource::Options all = options;
  for (const auto& [step, path] : files) {
    traces.push_back(std::make_shared<const Trace>(Trace::load(path)));
    if (traces.back()->plan().text.ids != traces.front()->plan().text.ids ||
        traces.back()->plan().text.text != traces.front()->plan().text.text) {
      fail(ErrorCode::kFormat, "{}: is of another text than {}; expected traces of one run", path, files.front().second);
    }
    all.checkpoints.push_back({step, traces.back()->id()});
  }
  std::vector<LiveSource> sources;
  for (size_t at = 0; at < traces.size(); ++at) {
    all.checkpoint = at;
    sources.emplace_back(traces[at], all);
  }
  return sources;
}

}  // namespace clearhead
