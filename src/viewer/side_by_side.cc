// Opens the step-NNNNNN.trace files of a folder, which must all be traces of the same text, in the order of their steps; or opens
// several traces side by side.
#include "viewer/side_by_side.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/format.h"
#include "base/utf8.h"

namespace clearhead::viewer {
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

// The line break between source and target; npos if the text does not consist of both.
size_t break_before_target(const RunText& text) {
  const std::vector<TextSegment>& parts = text.segments;
  if (parts.size() != 2 || parts[1].name != "target") return std::string::npos;
  for (int64_t token = parts[1].begin; token < parts[1].end; ++token) {
    const auto [begin, end] = text.offsets[static_cast<size_t>(token)];
    if (begin < end)
      return begin > 0 && text.text[static_cast<size_t>(begin) - 1] == '\n' ? static_cast<size_t>(begin) - 1 : std::string::npos;
  }
  return std::string::npos;
}

// The beginning of a text on one line; for a source and a target, "source → target".
std::string beginning_of(const RunPlan& plan, bool with_target) {
  constexpr size_t kMost = 80;
  std::string text = plan.text.text.substr(0, 4 * kMost);
  if (const size_t at = break_before_target(plan.text); at < text.size()) {
    if (with_target) {
      text.replace(at, 1, " → ");
    } else {
      text.resize(at);
    }
  }
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\t' || c == '\r'; }, ' ');
  text.erase(0, text.find_first_not_of(' '));
  if (text.size() > kMost) {
    size_t end = kMost;
    while (end > 0 && continues_character(text[end])) --end;  // inside a character
    text = text.substr(0, end) + "…";
  }
  return text;
}

}  // namespace

bool is_watch_folder(const std::string& path) { return !files_of(path).empty(); }

std::vector<LoadedTrace> open_checkpoints(const std::string& folder, const LoadedTrace::Options& options) {
  const auto files = files_of(folder);
  if (files.empty()) fail(ErrorCode::kNotFound, "{}: no step-NNNNNN.trace in this folder; expected RUN/watch of a training run", folder);
  std::vector<std::shared_ptr<const Trace>> traces;
  LoadedTrace::Options all = options;
  all.is_run = true;
  for (const auto& [step, path] : files) {
    traces.push_back(std::make_shared<const Trace>(Trace::load(path)));
    if (traces.back()->plan().text.ids != traces.front()->plan().text.ids ||
        traces.back()->plan().text.text != traces.front()->plan().text.text) {
      fail(ErrorCode::kFormat, "{}: its text differs from that of {}; expected traces of one run", path, files.front().second);
    }
    all.together.push_back({.number = step, .id = traces.back()->id()});
  }
  std::vector<LoadedTrace> loaded;
  for (all.at = 0; all.at < traces.size(); ++all.at) loaded.emplace_back(traces[all.at], all);
  return loaded;
}

std::vector<LoadedTrace> side_by_side(const std::vector<ShownTrace>& traces, const LoadedTrace::Options& options) {
  LoadedTrace::Options all = options;
  for (const ShownTrace& shown : traces) {
    all.together.push_back({.number = static_cast<int64_t>(all.together.size()),
                            .id = shown.trace->id(),
                            .model = model_name(shown.trace->plan()),
                            .begins = beginning_of(shown.trace->plan(), /*with_target=*/shown.card.answer.empty()),
                            .state = shown.state,
                            .card = shown.card});
  }
  std::vector<LoadedTrace> loaded;
  for (all.at = 0; all.at < traces.size(); ++all.at) {
    const ShownTrace& shown = traces[all.at];
    all.command = shown.command.empty() ? options.command : shown.command;
    all.model = shown.model ? shown.model : options.model;
    all.answers = shown.answers;
    loaded.emplace_back(shown.trace, all);
  }
  return loaded;
}

}  // namespace clearhead::viewer
