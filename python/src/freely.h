// Work of the library without the GIL. Ctrl-C stops it.
#pragma once

#include <nanobind/nanobind.h>

#include <sys/types.h>
#include <unistd.h>

#include "base/busy.h"

namespace clearhead::python {

/// Runs Python's signal handlers. What they raise, as KeyboardInterrupt, is thrown.
inline void run_signal_handlers() {
  if (::gettid() != ::getpid()) return;  // Python runs them in the main thread only
  const nanobind::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0) throw nanobind::python_error();
}

/// What `work` returns. It must touch nothing of Python's.
template <class Work>
auto freely(const Work& work) {
  const nanobind::gil_scoped_release free;
  const CheckWhileBusy interruptible(&run_signal_handlers);
  return work();
}

}  // namespace clearhead::python
