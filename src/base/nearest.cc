// Nearest names by Levenshtein distance. A comparison ends early when the distance exceeds the limit.
#include "base/nearest.h"

#include <algorithm>
#include <numeric>

namespace clearhead {
namespace {

constexpr size_t kLongestName = 256;  // people do not type longer names

// Levenshtein distance in one row of memory, or limit + 1 as soon as it must exceed the limit.
size_t edit_distance(std::string_view a, std::string_view b, size_t limit, std::vector<size_t>& row) {
  if (std::max(a.size(), b.size()) - std::min(a.size(), b.size()) > limit) return limit + 1;
  row.resize(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    size_t smallest = row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({substituted, row[j] + 1, row[j - 1] + 1});
      smallest = std::min(smallest, row[j]);
    }
    if (smallest > limit) return limit + 1;
  }
  return row[b.size()];
}

}  // namespace

std::vector<std::string> nearest_names(std::string_view name, const std::vector<std::string_view>& known, size_t count) {
  struct Candidate {
    size_t distance, order;
  };
  std::vector<Candidate> best;  // sorted, at most `count`
  std::vector<size_t> row;
  if (name.size() > kLongestName || count == 0) return {};
  for (size_t order = 0; order < known.size(); ++order) {
    if (known[order].size() > kLongestName) continue;
    const size_t limit = best.size() == count ? best.back().distance - (best.back().distance > 0) : std::max<size_t>(2, name.size() / 2);
    const size_t distance = edit_distance(name, known[order], limit, row);
    if (distance > limit || (best.size() == count && distance >= best.back().distance)) continue;
    if (best.size() == count) best.pop_back();
    const auto place = std::find_if(best.begin(), best.end(), [&](const Candidate& other) { return other.distance > distance; });
    best.insert(place, {distance, order});
  }
  std::vector<std::string> names;
  for (const Candidate& candidate : best) names.emplace_back(known[candidate.order]);
  return names;
}

std::string nearest_hint(std::string_view name, const std::vector<std::string_view>& known, size_t count) {
  std::string hint;
  for (const std::string& near : nearest_names(name, known, count)) hint += (hint.empty() ? "; nearest: \"" : ", \"") + near + "\"";
  return hint;
}

}  // namespace clearhead
