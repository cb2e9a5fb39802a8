// The minimum amount of work per thread.
#pragma once

#include <algorithm>
#include <cstdint>

namespace clearhead {

constexpr int64_t kGrain = 16384;  // elements per thread that justify waking it

/// kGrain as a number of items, for items of `elements` elements each: the `grain` argument of parallel_ranges.
inline int64_t grain_of(int64_t elements) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, elements)); }

}  // namespace clearhead
