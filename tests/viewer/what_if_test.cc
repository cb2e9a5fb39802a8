// Errors of requests to explain and to edit.
#include "viewer/questions/what_if.h"

#include <gtest/gtest.h>

#include "explain/attribution_target.h"
#include "looked_at.h"
#include "models/trace_text.h"
#include "refused.h"
#include "viewer/questions/why.h"

namespace clearhead::viewer {
namespace {

TEST(WhatIfLook, NamesTheFieldThatIsWrong) {
  const auto look = [](const char* body) { return [body] { what_if_look_of(Json::parse(body, "test")); }; };
  expect_refused(ErrorCode::kInvalidArgument, "expected ranges", look(R"({"cut": [{"ids": [3, 2]}]})"));
  expect_refused(ErrorCode::kUnsupported, "swap", look(R"({"swap": 1})"));
  expect_refused(ErrorCode::kInvalidArgument, "layer -1", look(R"({"knock_out": [{"layer": -1, "head": 0}]})"));
}

TEST(WhyLook, UnknownMethodsAndUnitsAreRefusedByName) {
  const auto look = [](const char* body) { return [body] { why_look_of(Json::parse(body, "test")); }; };
  expect_refused(ErrorCode::kNotFound, "magic", look(R"({"methods": ["magic"]})"));
  expect_refused(ErrorCode::kInvalidArgument, "is empty", look(R"({"methods": []})"));
  expect_refused(ErrorCode::kInvalidArgument, "found \"line\"", look(R"({"methods": ["attention"], "units": "line"})"));
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

// The viewer explains the same target as the command line and Python: an answer of several tokens as a whole, over every token of the text.
TEST(Explaining, AMultiTokenAnswerEqualsThatOfTheAttributionTarget) {
  const std::string text = "It was a dark and stormy";
  const std::shared_ptr<const Model> model = load(std::string(CLEARHEAD_SOURCE_DIR) + "/models/book", {.gradients = true});
  LoadedTrace::Options options;
  options.model = model;
  LoadedTrace loaded(std::make_shared<Trace>(std::move(trace_text(*model, {.input = {.text = text}}).trace)), options);
  const Json answer =
      questions::why(loaded, {.asked = {.target = "night, and"}, .methods = {"attention", "relevance"}, .units = "token"}, {});
  const auto subject = explain::make_target(model, {.text = text}, {.target = "night, and"});
  EXPECT_EQ(answer.find("answer")->string(), subject->answer());
  EXPECT_NEAR(answer.find("probability")->number(), subject->probability(), 1e-6 * subject->probability());
  EXPECT_EQ(answer.find("items")->size(), loaded.trace().plan().text.ids.size());
  EXPECT_EQ(answer.find("read_from")->items()[0].integer(), loaded.trace().plan().text.tokens() - 1);
  for (const Json& method : answer.find("methods")->items()) EXPECT_EQ(method.find("shares")->size(), subject->items().size());
}

}  // namespace
}  // namespace clearhead::viewer
