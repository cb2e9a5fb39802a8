// Between the items of a long loop the caller is asked whether to go on (parallel.h: the loops).
//
//   CheckWhileBusy busy([] { if (interrupted) throw Stop(); });
//   attend(…)          asks about every 50 ms, in this thread
#pragma once

#include <chrono>
#include <functional>

namespace clearhead {

/// While one stands, its thread calls `check` now and then in its parallel loops, never inside of a body whose loop other
/// threads share. What `check` throws stops the loop as an exception of a body does. Of several the innermost is asked.
class CheckWhileBusy {
 public:
  explicit CheckWhileBusy(std::function<void()> check);
  ~CheckWhileBusy();
  CheckWhileBusy(const CheckWhileBusy&) = delete;
  CheckWhileBusy& operator=(const CheckWhileBusy&) = delete;

  /// Asks the one of this thread, if there is one and it is time.
  static void ask();

 private:
  std::function<void()> check_;
  std::chrono::steady_clock::time_point next_;
  CheckWhileBusy* outer_;
};

}  // namespace clearhead
