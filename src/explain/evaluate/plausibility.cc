// Computes plausibility from marked items, and alignment error rates from sets of links.
#include "explain/evaluate/plausibility.h"

#include <algorithm>
#include <set>

#include "explain/evaluate/faithfulness.h"
#include "metrics/checks.h"
#include "metrics/ranking.h"

namespace clearhead::explain {

Plausibility plausibility(std::span<const double> scores, std::span<const uint8_t> marked) {
  Plausibility out;
  out.auprc = metrics::average_precision(scores, marked);
  const auto marks = static_cast<size_t>(std::count(marked.begin(), marked.end(), 1));
  if (marks == 0) fail(ErrorCode::kInvalidArgument, "plausibility: none of the {} items is marked; expected at least one", marked.size());
  const std::vector<size_t> order = ranked(scores);
  double hits = 0;
  for (size_t at = 0; at < marks; ++at) hits += marked[order[at]];
  out.token_f1 = hits / static_cast<double>(marks);
  out.prevalence = static_cast<double>(marks) / static_cast<double>(marked.size());
  return out;
}

Alignment alignment(std::span<const Link> found, std::span<const Link> sure, std::span<const Link> possible) {
  const std::set<Link> links(found.begin(), found.end()), certain(sure.begin(), sure.end());
  std::set<Link> allowed(possible.begin(), possible.end());
  allowed.insert(certain.begin(), certain.end());
  if (links.empty() && certain.empty()) {
    fail(ErrorCode::kInvalidArgument, "alignment: neither predicted nor sure links; expected at least one link");
  }
  const auto shared = [&](const std::set<Link>& with) {
    return static_cast<double>(std::count_if(links.begin(), links.end(), [&](const Link& link) { return with.count(link) > 0; }));
  };
  const auto size = static_cast<double>(links.size()), sure_size = static_cast<double>(certain.size());
  Alignment out;
  out.error_rate = 1 - (shared(certain) + shared(allowed)) / (size + sure_size);
  out.precision = links.empty() ? 0 : shared(allowed) / size;
  out.recall = certain.empty() ? 0 : shared(certain) / sure_size;
  return out;
}

}  // namespace clearhead::explain
