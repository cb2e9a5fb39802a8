// The registry of backends: choice by name, the default, and completeness.
#include "backends/registry.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "clearhead/error.h"

namespace clearhead {
namespace {

class Registry : public testing::Test {
 protected:
  Registry() { backend(); }
  ~Registry() override {
    ::unsetenv("CLEARHEAD_ISA");
    choose_backend("");
  }
};

std::string refusal(const std::string& name) {
  try {
    choose_backend(name);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    return error.what();
  }
  return "";
}

TEST_F(Registry, HandsOutTheTableThatWasChosen) {
  for (const Backend* table : runnable_backends()) {
    choose_backend(table->isa == InstructionSet::kReference ? table->name : to_string(table->isa));
    EXPECT_EQ(&backend(), table);
  }
}

TEST_F(Registry, TheFastestThatRunsHereIsTheDefault) {
  choose_backend("ref");
  choose_backend("");
  EXPECT_EQ(&backend(), runnable_backends().back());
}

TEST_F(Registry, EveryRunnableBackendIsComplete) {
  for (const Backend* table : runnable_backends()) {
    EXPECT_TRUE(table->refusal && table->forward && table->weights && table->sweep) << table->name;
  }
}

TEST_F(Registry, RefusesNamesItDoesNotKnow) {
  EXPECT_EQ(refusal("cuda"), "backend: there is no backend \"cuda\"; expected ref or cpu");
  ::setenv("CLEARHEAD_ISA", "sse9", 1);
  EXPECT_EQ(refusal("cpu"), "backend: there is no instruction set \"sse9\"; expected avx2 or avx512");
}

}  // namespace
}  // namespace clearhead
