// Entropy and distance of a forward's rows by a sweep of their own: for drivers that do not sum them on the way.
#pragma once

#include <numeric>
#include <vector>

#include "backends/contract.h"

namespace clearhead {

/// After the forward has written its row statistics. Nothing where nothing was asked for.
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
