// clearhead::Error as the Python exceptions of clearhead/errors.py, with the same text.
#include "clearhead/error.h"

#include "module.h"

namespace nb = nanobind;

namespace clearhead::python {

void add_errors(nb::module_&) {
  nb::register_exception_translator([](const std::exception_ptr& problem, void*) {
    try {
      std::rethrow_exception(problem);
    } catch (const Error& error) {
      const nb::object kinds = nb::module_::import_("clearhead.errors").attr("KINDS");
      const nb::object kind = kinds[to_string(error.code())];
      PyErr_SetString(kind.ptr(), error.what());
    }
  });
}

}  // namespace clearhead::python
