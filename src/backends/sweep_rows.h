// Entropy and distance (Statistic) of the rows of a forward call, computed by a separate sweep, for
// forward implementations that do not accumulate them on the way.
#pragma once

#include <numeric>
#include <vector>

#include "backends/backend.h"

namespace clearhead {

/// Call this after the forward pass has written its row statistics. Does nothing if neither statistic was requested.
inline void sweep_rows(const ForwardCall& call, ReductionResult (*sweep)(const SweepCall&)) {
  ReductionRequest request;
  if (call.entropy) request.statistics.push_back(Statistic::kEntropy);
  if (call.distance) request.statistics.push_back(Statistic::kDistance);
  if (request.statistics.empty()) return;
  const AttentionRecord record{.spec = call.spec, .q = call.q, .keys = call.keys, .rows = call.rows, .query_length = call.q.size(2)};
  std::vector<int64_t> rows(static_cast<size_t>(call.q.size(2)));
  std::iota(rows.begin(), rows.end(), 0);
  const ReductionResult result = sweep({.record = record, .request = request, .rows = rows});
  if (call.entropy) *call.entropy = result.entropy;
  if (call.distance) *call.distance = result.distance;
}

}  // namespace clearhead
