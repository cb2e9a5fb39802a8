// What must hold on every table of this machine: the reference's and each instruction set's.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "backends/registry.h"

namespace clearhead {

/// Runs the body once per table that this machine can run, and puts back the one that was chosen.
template <class Body>
void on_every_backend(const Body& body) {
  const auto name_of = [](const Backend& table) { return table.isa == InstructionSet::kReference ? "ref" : to_string(table.isa); };
  const std::string before = name_of(backend());
  for (const Backend* table : runnable_backends()) {
    choose_backend(name_of(*table));
    SCOPED_TRACE(std::string("backend ") + name_of(backend()));
    body();
  }
  choose_backend(before);
}

}  // namespace clearhead
