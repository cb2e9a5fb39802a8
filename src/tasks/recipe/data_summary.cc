// Formats the summary. Lists at most 20 classes, the most frequent ones.
#include "tasks/recipe/data_summary.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "base/json.h"
#include "text/strings.h"
#include "text/unicode.h"

namespace clearhead::tasks {
namespace {

constexpr size_t kMostClasses = 20;

std::string classes_line(const std::map<std::string, int64_t>& classes) {
  std::vector<std::pair<std::string, int64_t>> all(classes.begin(), classes.end());
  const bool is_long = all.size() > kMostClasses;
  if (is_long) std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string out = is_long ? format("  {} classes; most frequent: ", with_commas(static_cast<int64_t>(all.size()))) : "  classes: ";
  for (size_t at = 0; at < std::min(all.size(), kMostClasses); ++at) {
    const bool is_plain = !all[at].first.empty() && all[at].first.find_first_of(" ,\t\"") == std::string::npos;
    out += format("{}{} {}", at == 0 ? "" : ", ", is_plain ? all[at].first : Json(all[at].first).dump(), with_commas(all[at].second));
  }
  return out;
}

}  // namespace

void DataSummary::add_lengths(const std::string& of_what, std::vector<int64_t> values) {
  if (values.empty()) return;
  std::sort(values.begin(), values.end());
  lengths.push_back({of_what, values.front(), values[values.size() / 2], values.back()});
}

void DataSummary::note(const std::string& what, int64_t number) {
  if (number > 0) notes.push_back(format("{}: {}", what, with_commas(number)));
}

void DataSummary::note_suspicious_classes() {
  std::map<std::string, std::vector<std::string>> spellings;
  for (const auto& [name, number] : classes) {
    const std::string valid = text::replace_invalid(name);
    const std::string_view bare = text::strip(valid);
    if (bare != valid) notes.push_back(format("the class {} begins or ends with a space", Json(name).dump()));
    spellings[text::lower(bare)].push_back(name);
  }
  for (const auto& [lower, names] : spellings) {
    if (names.size() < 2) continue;
    std::string all;
    for (const std::string& name : names) all += (all.empty() ? "" : ", ") + Json(name).dump();
    notes.push_back(format("the classes {} differ only by case; if they are one class, write them the same way", all));
  }
}

std::vector<std::string> DataSummary::lines() const {
  std::string first = format("{}: {} {}{}", part, with_commas(count), of, files.empty() ? "" : " of " + files);
  for (const Lengths& one : lengths)
    first += format("; {}: {} to {}, median {}", one.of, with_commas(one.shortest), with_commas(one.longest), with_commas(one.median));
  std::vector<std::string> out = {first};
  if (!classes.empty()) out.push_back(classes_line(classes));
  for (const std::string& one : notes) out.push_back("  " + one);
  return out;
}

std::string joined_names(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

}  // namespace clearhead::tasks
