// Checks and row selection that every look starts with. A look recomputes weights from the record of an attention call.
// It needs a fresh record, a description that the backend supports, valid ranges, and the rows to read.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "backends/backend.h"
#include "clearhead/look.h"
#include "clearhead/map.h"
#include "clearhead/record.h"

namespace clearhead {

/// Throws kStale if an operand changed, kUnsupported if the backend in use cannot run the description.
void check_look(const AttentionRecord& record);

/// Throws kInvalidArgument unless the range lies in [0, count); `what` names it in the message.
void check_range(std::string_view what, Range range, int64_t count);

/// Converts queries to rows of the record. Throws kInvalidArgument outside the call's queries, kNotFound
/// if Q was not kept.
Range rows_of(const AttentionRecord& record, Range queries);

/// Throws kBudget if a result of counts[0]·counts[1]·… f32 values would take more than a quarter of this machine's memory;
/// `what` names it in the message. Without this check the system might end the process.
void check_size(std::string_view what, std::initializer_list<int64_t> counts);

/// begin, begin + 1 … end − 1.
std::vector<int64_t> every(Range rows);

/// The rows to read, ascending: all of them, or `wanted` evenly spaced ones if 0 < wanted < rows.size(). Adds one row for
/// every row of cells of the grid that would otherwise have none.
std::vector<int64_t> sampled(Range rows, int64_t wanted, const CellGrid& grid = {});

/// The grid of cells of a tile whose queries are `rows`. A tile with one cell per weight has a side of 1. Throws
/// kInvalidArgument if counts and side contradict each other, kBudget as check_size does.
CellGrid grid_of(const TileRequest& request, Range rows);

/// Counts the finished tasks of a look. Throws kCancelled at the next task after the token is set; reports progress on
/// the calling thread.
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
