// What requests to explain and to edit are refused for.
#include "viewer/questions/what_if.h"

#include <gtest/gtest.h>

#include "looked_at.h"
#include "refused.h"
#include "viewer/questions/why.h"

namespace clearhead {
namespace {

TEST(WhatIfLook, NamesTheFieldThatIsWrong) {
  const auto look = [](const char* body) { return [body] { what_if_look_of(Json::parse(body, "test")); }; };
  expect_refused(ErrorCode::kInvalidArgument, "expected ranges", look(R"({"cut": [{"ids": [3, 2]}]})"));
  expect_refused(ErrorCode::kUnsupported, "swap", look(R"({"swap": 1})"));
  expect_refused(ErrorCode::kInvalidArgument, "layer -1", look(R"({"knock_out": [{"layer": -1, "head": 0}]})"));
}

TEST(WhyLook, NamesTheMethodThatIsNotThere) {
  const auto look = [](const char* body) { return [body] { why_look_of(Json::parse(body, "test")); }; };
  expect_refused(ErrorCode::kNotFound, "magic", look(R"({"methods": ["magic"]})"));
  expect_refused(ErrorCode::kInvalidArgument, "is empty", look(R"({"methods": []})"));
  expect_refused(ErrorCode::kInvalidArgument, "found \"line\"", look(R"({"methods": ["attention"], "items": "line"})"));
}

TEST(Explaining, ATraceWithoutAModelIsRefusedWithTheCommand) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 9});
  try {
    questions::why(loaded, {.methods = {"attention"}}, {});
    FAIL();
  } catch (const NotKept& error) {
    EXPECT_EQ(error.command(), "clearhead view made-up \"your text\"");
  }
}

}  // namespace
}  // namespace clearhead
