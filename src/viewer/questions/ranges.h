// Ranges of queries and keys, in questions and answers.
#pragma once

#include <cstdint>
#include <vector>

#include "base/json.h"
#include "clearhead/look.h"

namespace clearhead::viewer::questions {

/// Throws kInvalidArgument, with `what` in the message, if there are no ranges or one is not within [0, length).
void check_ranges(const std::vector<Range>& ranges, int64_t length, const char* what);
/// The ranges merged: without overlaps, ascending.
std::vector<Range> united(std::vector<Range> ranges);
int64_t count_of(const std::vector<Range>& ranges);

Json range_json(Range range);                        ///< [begin, end]
Json ranges_json(const std::vector<Range>& ranges);  ///< [[begin, end], …]

}  // namespace clearhead::viewer::questions
