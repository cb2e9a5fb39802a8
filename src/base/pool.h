// Threads that wait for work: they spin for a moment, then sleep.
//
//   run(count, body)   body(0) in the caller, body(1) … body(count − 1) in threads that come before the caller is done
//
// Between two regions of a model lie microseconds: a thread that sleeps would come too late for the next one, so it spins first. But only for
// kSpin: on a machine with other work a spinning thread takes the core from the one that it waits for. A region needs no thread but its caller.
// Who comes late finds no seat, and the caller waits for those only who took one. So a thread that the system has put aside holds up what it has
// begun, and nothing else.
//
//   seats       count − 1 at the beginning; a thread takes one by counting down, the caller takes the rest when its own body is done
//   generation  counts regions: what threads without a seat wait for
//   left        threads that are done with this region: what the caller waits for
#pragma once

#include <functional>

namespace clearhead {

/// Bodies must share their work among as many of them as are called: 1 to `count`. They must not throw. Where another thread's region is running, or inside one,
/// body(0) alone is called. Safe after fork().
void run_on_threads(int count, const std::function<void(int thread)>& body);

}  // namespace clearhead
