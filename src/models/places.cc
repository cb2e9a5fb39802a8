// Pairs without a family apply to the maps of all families. Their queries and keys must exist in at least one family.
#include "models/places.h"

#include <algorithm>

#include "base/format.h"

namespace clearhead {
namespace {

void check_range(const char* what, const char* of, Range range, int64_t count) {
  if (range.begin >= 0 && range.end <= count) return;
  const std::string named = range.size() == 1 ? format("{}", range.begin) : format("{}:{}", range.begin, range.end);
  fail(ErrorCode::kInvalidArgument, "{} names {} {}; this run has {} of them, counted from 0", what, of, named, count);
}

void check_pairs(const char* what, const Interventions::Pairs& pairs, const std::vector<MapFamily>& families, int64_t more) {
  int64_t queries = 0, keys = 0;
  for (const MapFamily& family : families) {
    if (!pairs.family.empty() && pairs.family != family.name) continue;
    queries = std::max(queries, family.queries + more);
    keys = std::max(keys, family.keys + more);
  }
  if (queries == 0 || keys == 0) return;  // an unknown family, which the run refuses by name
  check_range(what, "queries", pairs.queries, queries);
  check_range(what, "keys", pairs.keys, keys);
}

}  // namespace

void check_ranges(const Interventions& interventions, const std::vector<MapFamily>& families, int64_t more) {
  for (const Interventions::Pairs& pairs : interventions.knockouts) check_pairs("an attention knockout", pairs, families, more);
  for (const Interventions::Pairs& pairs : interventions.keep_only) check_pairs("a keep-only", pairs, families, more);
}

void check_ranges(const TraceOptions& options, const RunPlan& plan) {
  for (const Range& rows : options.rows) check_range("rows to keep", "tokens", rows, static_cast<int64_t>(plan.text.ids.size()));
  int64_t layers = 0;
  for (const MapFamily& family : plan.families) layers = std::max<int64_t>(layers, family.layers);
  for (const int layer : options.layers) {
    if (layer < 0 || layer >= layers)
      fail(ErrorCode::kInvalidArgument, "layers to keep: layer {} is out of range; this model's layers are 0 to {}", layer, layers - 1);
  }
}

}  // namespace clearhead
