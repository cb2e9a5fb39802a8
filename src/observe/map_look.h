// Checks and row selection at the start of every look: is the record fresh, does the backend support it, are the ranges
// valid, which rows are looked at.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "backends/contract.h"
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

/// Throws kBudget where counts of what a look gives make more numbers than this machine could hold; `what` names them in
/// the message. Without it the system might end the process.
void check_size(std::string_view what, std::initializer_list<int64_t> counts);

/// begin, begin + 1 … end − 1.
std::vector<int64_t> every(Range rows);

/// The rows to look at: all, or `wanted` evenly spaced ones. Adds a row for every cell row of the grid
/// that would have none.
std::vector<int64_t> sampled(Range rows, int64_t wanted, const CellGrid& grid = {});

/// The cells of a tile whose queries are `rows`. One cell per weight is a side of 1. Throws kInvalidArgument for counts
/// and sides that contradict each other, kBudget as check_size does.
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
