// Parallel loops (pool.h: the threads).
//
//   parallel_for(items, [&](int64_t item, int thread) { … });
//
// Threads take items one by one in ascending order, so put long ones first. Results must not depend on which thread runs
// an item. If the system suspends one thread, the others continue with all items that have not started. Bodies treat
// subnormal numbers as zero (in f32: below 1.2e-38) on every thread; the caller's own mode is restored afterwards. The
// first exception is rethrown in the caller after all threads have stopped. A call nested in a loop that runs on several
// threads runs in the calling thread.
#pragma once

#include <cstdint>
#include <functional>

namespace clearhead {

/// Sets the number of threads for parallel_for, at least 1. Default: the cores available to this process.
void set_threads(int count);
/// Number of threads that parallel_for would use here: 1 inside the body of a loop that runs on several threads, where a
/// nested call runs in the calling thread.
int threads();

void parallel_for(int64_t items, const std::function<void(int64_t item, int thread)>& body);

/// Splits [0, count) into ranges of at least `grain` and runs body(begin, end, thread) on each.
void parallel_ranges(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end, int thread)>& body);

/// True inside the body of a loop that runs on several threads.
bool in_parallel();

}  // namespace clearhead
