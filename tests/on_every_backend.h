// For tests that must pass on every backend of this machine: the reference and each instruction set.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "backends/registry.h"

namespace clearhead {

/// Runs the body once for each backend that this machine can run, then restores the one that was chosen before.
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
