// Runs library code without the GIL. Ctrl-C cancels it.
#pragma once

#include <nanobind/nanobind.h>

#include <sys/types.h>
#include <unistd.h>

#include "base/busy.h"

namespace clearhead::python {

/// Runs Python's signal handlers. Exceptions that they raise, such as KeyboardInterrupt, are thrown.
inline void run_signal_handlers() {
  if (::gettid() != ::getpid()) return;  // Python runs signal handlers only in the main thread
  const nanobind::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0) throw nanobind::python_error();
}

/// Releases the GIL, runs `work` and returns its result. `work` must not touch Python objects.
template <class Work>
auto without_gil(const Work& work) {
  const nanobind::gil_scoped_release free;
  const CheckWhileBusy interruptible(&run_signal_handlers);
  return work();
}

}  // namespace clearhead::python
