// A thread pool. Idle threads spin for a moment, then sleep.
//
//   run(count, body)   body(0) in the caller, body(1) … body(count − 1) in threads that arrive while the caller runs
//
// The parallel regions of a model follow one another within microseconds. A sleeping thread would wake up too late for the
// next region, so it spins first, but only for kSpin: on a busy machine a spinning thread takes the core from the thread
// it waits for. A region needs only its caller. A late thread finds no seat, and the caller waits only for threads that
// took one. So a thread that the system suspended delays only the work that it has started.
//
//   seats       starts at count − 1; a thread takes one by decrementing, the caller takes the rest after its body
//   generation  number of the region; threads without a seat wait for it to change
//   left        number of threads that finished this region; the caller waits for all that took a seat
#pragma once

#include <functional>

namespace clearhead {

/// Runs the body on 1 to `count` threads. Bodies must divide the work among however many of them are called, and must not
/// throw. Inside a region, or while another thread's region runs, only body(0) is called. Safe after fork().
void run_on_threads(int count, const std::function<void(int thread)>& body);

/// GOMP_parallel of libgomp, which libomp and libiomp5 have as well: runs body(data) on `threads` threads, including the
/// caller.
using OpenMpParallel = void (*)(void (*body)(void*), void* data, unsigned threads, unsigned flags);

/// Runs regions on the threads of an OpenMP runtime that the process already uses, instead of the pool's own threads:
/// waiting threads of two pools would take the cores from each other. A region then ends only when all its threads have
/// arrived. Null: the pool's own threads. A child of fork() returns to the pool's own threads.
void use_openmp(OpenMpParallel parallel);

}  // namespace clearhead
