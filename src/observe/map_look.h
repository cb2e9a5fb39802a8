// What every look at a record begins with: is it still true, may this backend answer, are the ranges inside, which rows are meant.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include "backends/contract.h"
#include "clearhead/look.h"
#include "clearhead/map.h"
#include "clearhead/record.h"

namespace clearhead {

/// Throws kStale if an operand changed, kUnsupported if the backend in use cannot run the description.
void check_look(const AttentionRecord& record);

/// Throws kInvalidArgument unless range lies in [0, count); `what` names it in the message.
void check_range(std::string_view what, Range range, int64_t count);

/// Queries → rows of the record. Throws kInvalidArgument outside the call's queries, kNotFound where Q was not kept.
Range rows_of(const AttentionRecord& record, Range queries);

/// begin, begin + 1 … end − 1.
std::vector<int64_t> every(Range rows);

/// Rows looked at out of `rows`: all of them, or `wanted` evenly spaced ones and more where a cell row of the grid would have none.
std::vector<int64_t> sampled(Range rows, int64_t wanted, const CellGrid& grid = {});

/// The cells that a tile asks for over `rows`, its queries; one cell a weight is a side of 1. Throws kInvalidArgument for counts and sides that do not go together.
CellGrid grid_of(const TileRequest& request, Range rows);

/// Counts the tasks of a look that are done: throws kCancelled from the next task after the token is set, reports progress from the calling thread.
class LookProgress {
 public:
  LookProgress(const LookOptions& options, int64_t tasks) : options_(options), tasks_(tasks) {}
  void before_task() const;
  void after_task(int thread);

 private:
  const LookOptions& options_;
  int64_t tasks_;
  std::atomic<int64_t> done_{0};
};

}  // namespace clearhead
