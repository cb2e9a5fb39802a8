// A check that parallel loops (parallel.h) call between their items, so that a caller can interrupt long computations.
//
//   CheckWhileBusy busy([] { if (interrupted) throw Stop(); });
//   attend(…)          calls the check about every 50 ms, in this thread
#pragma once

#include <chrono>
#include <functional>

namespace clearhead {

/// While this object exists, the parallel loops of its thread call `check` between items, about every 50 ms. Loops nested
/// in the body of a loop that runs on several threads do not. An exception from `check` stops the loop like an exception from a body. If
/// there are several objects, only the innermost one is called.
class CheckWhileBusy {
 public:
  explicit CheckWhileBusy(std::function<void()> check);
  ~CheckWhileBusy();
  CheckWhileBusy(const CheckWhileBusy&) = delete;
  CheckWhileBusy& operator=(const CheckWhileBusy&) = delete;

  /// Calls the check of this thread, if there is one and it is due.
  static void ask();

 private:
  std::function<void()> check_;
  std::chrono::steady_clock::time_point next_;
  CheckWhileBusy* outer_;
};

}  // namespace clearhead
