// The extension module clearhead._core. clearhead/__init__.py exports its public names.
#include "module.h"

#include <nanobind/stl/string.h>

#include "backends/registry.h"
#include "base/parallel.h"
#include "base/pool.h"
#include "clearhead/record.h"

namespace nb = nanobind;
using namespace nb::literals;

NB_MODULE(_core, module) {
  using namespace clearhead;
  nb::set_leak_warnings(false);  // notebooks keep arrays until the interpreter exits
  module.attr("__version__") = CLEARHEAD_VERSION;
  module.def(
      "threads", [] { return threads(); },
      "Number of compute threads: by default the processors that this process may use; see set_threads().");
  module.def("set_threads", &set_threads, "count"_a, "Sets the number of compute threads, at least 1. Results do not depend on it.");
  module.def(
      "_use_openmp", [](uintptr_t parallel) { use_openmp(reinterpret_cast<OpenMpParallel>(parallel)); }, "parallel"_a);
  module.def(
      "instruction_set", [] { return std::string(to_string(backend().isa)); },
      "Instruction set of the kernels: \"avx512\", \"avx2\" or \"ref\".");
  python::add_errors(module);
  python::add_description(module);
  python::add_rules(module);
  python::add_attention(module);
  python::add_looks(module);
  python::add_traces(module);
  python::add_operator(module);
  python::add_capture(module);
  python::add_models(module);
  python::add_replayed(module);
  python::add_circuits(module);
  python::add_evidence(module);
  python::add_pages(module);
  python::add_pictures(module);
  python::name_arguments_in_type_errors(module);
}
