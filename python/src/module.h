// Registration functions of the extension module clearhead._core.
#pragma once

#include <nanobind/nanobind.h>

namespace clearhead::python {

void add_errors(nanobind::module_& module);                     // errors.cc
void name_arguments_in_type_errors(nanobind::module_& module);  // errors.cc: call last
void add_description(nanobind::module_& module);                // description.cc: descriptions of attention
void add_attention(nanobind::module_& module);                  // attention.cc: calls, gradients, caches, key selection
void add_rules(nanobind::module_& module);                      // rules.cc: terms and visibility from lambdas
void add_looks(nanobind::module_& module);                      // looks.cc: maps of records; heads of maps
void add_traces(nanobind::module_& module);                     // traces.cc: traces and the maps of their layers
void add_operator(nanobind::module_& module);                   // operator.cc: functions behind the torch operator
void add_capture(nanobind::module_& module);                    // capture.cc: traces of attention computed by other libraries
void add_models(nanobind::module_& module);                     // models.cc
struct Loaded;
void add_explanations(nanobind::class_<Loaded>& model);  // explain.cc: methods of Model
void add_replayed(nanobind::module_& module);            // replayed.cc: explanations of watched models
void add_circuits(nanobind::module_& module);            // circuits.cc: matrices over the vocabulary
void add_evidence(nanobind::module_& module);            // evidence.cc: evidence tables
void add_pages(nanobind::module_& module);               // pages.cc: pages of the viewer, after the types that they show
void add_pictures(nanobind::module_& module);            // pictures.cc

}  // namespace clearhead::python
