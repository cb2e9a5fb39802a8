// The parts of the extension module clearhead._core.
#pragma once

#include <nanobind/nanobind.h>

namespace clearhead::python {

void add_errors(nanobind::module_& module);                     // errors.cc
void name_arguments_in_type_errors(nanobind::module_& module);  // errors.cc: once everything has been added
void add_description(nanobind::module_& module);                // description.cc: what attention is asked for
void add_attention(nanobind::module_& module);                  // attention.cc: calls, gradients, caches, choices of keys
void add_rules(nanobind::module_& module);                      // rules.cc: terms and visibility from lambdas
void add_looks(nanobind::module_& module);                      // looks.cc: maps of records, heads of maps
void add_traces(nanobind::module_& module);                     // traces.cc: traces and maps of their layers
void add_operator(nanobind::module_& module);                   // operator.cc: what the operator of torch calls
void add_capture(nanobind::module_& module);                    // capture.cc: traces of what other libraries computed
void add_models(nanobind::module_& module);                     // models.cc
struct Loaded;
void add_explanations(nanobind::class_<Loaded>& model);  // explain.cc: a part of models.cc
void add_pictures(nanobind::module_& module);            // pictures.cc

}  // namespace clearhead::python
