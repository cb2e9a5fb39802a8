// Translates errors to Python exceptions.
//
// clearhead::Error becomes the exception of clearhead/errors.py for its code. In messages, command-line options are replaced by Python
// keywords. A call with arguments of the wrong type raises a TypeError that names the argument. nanobind's own message lists C++ signatures
// and cannot be customised, so each function's entry point is replaced by one that rewrites the message.
#include "clearhead/error.h"

#include <nanobind/stl/string.h>

#include <cstring>
#include <string>
#include <unordered_map>

#include "module.h"

namespace nb = nanobind;

namespace clearhead::python {
namespace {

using Entry = PyObject* (*)(PyObject*, PyObject* const*, size_t, PyObject*);

constexpr size_t kCount = 0xFFFFFF;  // bits of the argument count; nanobind uses the bits above for flags

// nanobind's original entry points, by function. Written only while the module is initialised.
std::unordered_map<PyObject*, Entry>& entries() {
  static auto* all = new std::unordered_map<PyObject*, Entry>;
  return *all;
}

// Replaces the message of the pending TypeError by that of clearhead.errors.wrong_type.
void rewrite_type_error(PyObject* function, PyObject* const* args, size_t count, PyObject* names) {
  nb::python_error problem;
  const auto message = nb::cast<std::string>(nb::str(problem.value()));
  if (message.find("(): incompatible function arguments") == std::string::npos) return problem.restore();
  try {
    nb::list positional;
    for (size_t at = 0; at < count; ++at) positional.append(nb::handle(args[at]));
    nb::dict named;
    const size_t keywords = names ? nb::len(nb::handle(names)) : 0;
    for (size_t at = 0; at < keywords; ++at) named[nb::handle(names)[at]] = nb::handle(args[count + at]);
    const nb::object plain = nb::module_::import_("clearhead.errors")
                                 .attr("wrong_type")(message, nb::getattr(nb::handle(function), "__qualname__"), positional, named);
    PyErr_SetObject(PyExc_TypeError, plain.ptr());
  } catch (nb::python_error&) {
    problem.restore();
  }
}

PyObject* enter(PyObject* function, PyObject* const* args, size_t flagged, PyObject* names) {
  PyObject* result = entries().at(function)(function, args, flagged, names);
  if (!result && PyErr_ExceptionMatches(PyExc_TypeError)) {
    rewrite_type_error(function, args, flagged & kCount, names);
  }
  return result;
}

void replace_entry(nb::handle function) {
  const std::string kind = nb::cast<std::string>(nb::getattr(function.type(), "__name__"));
  if (kind != "nb_func" && kind != "nb_method") return;
  auto* slot = reinterpret_cast<Entry*>(reinterpret_cast<char*>(function.ptr()) + sizeof(PyVarObject));  // nb_func::vectorcall
  if (*slot != reinterpret_cast<Entry>(PyVectorcall_Function(function.ptr())) || *slot == &enter)
    return;  // unknown nanobind layout: keep its message
  entries().emplace(function.ptr(), *slot);
  *slot = &enter;
}

}  // namespace

void add_errors(nb::module_&) {
  nb::register_exception_translator([](const std::exception_ptr& problem, void*) {
    try {
      std::rethrow_exception(problem);
    } catch (const Error& error) {
      const nb::object errors = nb::module_::import_("clearhead.errors");
      const nb::object kind = errors.attr("KINDS")[to_string(error.code())];
      PyErr_SetObject(kind.ptr(), errors.attr("with_keywords")(error.what()).ptr());
    }
  });
}

void name_arguments_in_type_errors(nb::module_& module) {
  const nb::object type = nb::borrow(reinterpret_cast<PyObject*>(&PyType_Type));
  for (const nb::handle member : module.attr("__dict__").attr("values")()) {
    replace_entry(member);
    if (!nb::isinstance(member, type)) continue;
    for (const nb::handle method : member.attr("__dict__").attr("values")()) {
      replace_entry(method);
      const nb::object function = nb::getattr(method, "__func__", nb::none());  // present on static methods
      if (!function.is_none()) replace_entry(function);
    }
  }
}

}  // namespace clearhead::python
