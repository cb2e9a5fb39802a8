// Ranges of queries and keys, as questions give them and answers repeat them.
#pragma once

#include <cstdint>
#include <vector>

#include "base/json.h"
#include "clearhead/look.h"

namespace clearhead::questions {

/// Throws kInvalidArgument naming `what` where there is none, or one is no range of [0, length).
void check_ranges(const std::vector<Range>& ranges, int64_t length, const char* what);
/// Without overlaps, ascending.
std::vector<Range> united(std::vector<Range> ranges);
int64_t count_of(const std::vector<Range>& ranges);

Json range_json(Range range);                        ///< [begin, end]
Json ranges_json(const std::vector<Range>& ranges);  ///< [[begin, end], …]

}  // namespace clearhead::questions
