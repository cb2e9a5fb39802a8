// Work shared between threads (pool.h: those that wait for it).
//
//   parallel_for(items, [&](int64_t item, int thread) { … });
//
// Items are handed out one by one in ascending order (put long ones first). Results must not depend on which thread takes an item.
// Bodies compute with subnormal numbers taken and given as zero (in f32 those below 1.2e-38), whatever thread runs them; the caller keeps its own mode.
// The first exception is carried to the caller after all threads have stopped. A nested call runs in the calling thread.
// An item is not begun before somebody takes it: where one thread is put aside by the system, the others go on with all that it has not begun.
#pragma once

#include <cstdint>
#include <functional>

namespace clearhead {

/// Threads that parallel_for uses from now on, at least 1. Default: the cores this process may run on.
void set_threads(int count);
int threads();

void parallel_for(int64_t items, const std::function<void(int64_t item, int thread)>& body);

/// Splits [0, count) into ranges of at least `grain` and runs body(begin, end, thread) on them.
void parallel_ranges(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end, int thread)>& body);

/// True inside a body.
bool in_parallel();

}  // namespace clearhead
