// Errors of requests to explain and to edit.
#include "viewer/questions/what_if.h"

#include <gtest/gtest.h>

#include "base/format.h"
#include "explain/attribution_target.h"
#include "looked_at.h"
#include "models/trace_text.h"
#include "refused.h"
#include "tolerance.h"
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

// A loaded run of the model on the text, with these segments.
LoadedTrace with_segments(const std::shared_ptr<const Model>& model, const std::string& text, const std::vector<TextSegment>& segments) {
  Trace trace = trace_text(*model, {.input = {.text = text}}).trace;
  trace.set_segments(segments);
  LoadedTrace::Options options;
  options.model = model;
  return LoadedTrace(std::make_shared<Trace>(std::move(trace)), options);
}

std::shared_ptr<const Model> book() { return load(std::string(CLEARHEAD_SOURCE_DIR) + "/models/book", {.gradients = true}); }

TEST(Explaining, TheDropOfASegmentIsThatOfARunWhoseTokensCannotAttendToIt) {
  const std::string text = "It was a dark and stormy";
  const std::shared_ptr<const Model> model = book();
  const auto subject = explain::make_target(model, {.text = text}, {});
  const auto tokens = static_cast<int64_t>(subject->plan().text.ids.size());
  LoadedTrace loaded = with_segments(model, text, {{"end", "", 4, tokens}, {"start", "document", 0, 3}, {"inside", "", 0, 2}});
  const Json answer = questions::why(loaded, {.methods = {"attention", "occlusion"}, .units = "segment"}, {});
  EXPECT_EQ(answer.find("item_kind")->string(), "segment");
  const Json::Array& items = answer.find("items")->items();
  ASSERT_EQ(items.size(), 2u);  // "inside" has no token of its own, and token 3 belongs to no item
  const Json::Array& drops = answer.find("methods")->items()[1].find("drops")->items();
  EXPECT_EQ(answer.find("methods")->items()[0].find("drops"), nullptr);
  const std::vector<std::string> names{"start", "end"};
  double shares = 0;
  for (size_t item = 0; item < 2; ++item) {
    const Range ids{items[item].items()[0].integer(), items[item].items()[1].integer()};
    EXPECT_EQ(answer.find("segments")->items()[item].dump(), format(R"({{"name":"{}","tokens":{}}})", names[item], ids.end - ids.begin));
    const Interventions hidden{.knockouts = {{.queries = {0, tokens}, .keys = ids}}};
    const double without = subject->run(nullptr, hidden).probability;
    EXPECT_GT(std::abs(subject->probability() - without), 1e-4);
    EXPECT_NEAR(drops[item].number(), subject->probability() - without, tolerance::kSum);
    shares += std::abs(answer.find("methods")->items()[0].find("shares")->items()[item].number());
  }
  EXPECT_EQ(items[0].dump(), "[0,3]");
  EXPECT_NEAR(shares, 1, 1e-9);
}

TEST(Explaining, SegmentsThatFollowTheAnswerAreLeftOutAndOneThatSurroundsItIsClipped) {
  const std::shared_ptr<const Model> model = book();
  LoadedTrace loaded = with_segments(model, "It was a dark and stormy", {{"one", "", 0, 2}, {"two", "", 2, 5}, {"three", "", 5, 6}});
  const Json answer = questions::why(loaded, {.token = 4, .methods = {"occlusion"}, .units = "segment"}, {});
  EXPECT_EQ(answer.find("items")->dump(), "[[0,2],[2,4]]");
}

TEST(Explaining, UnitsOfSegmentsNeedTwoSegments) {
  const std::shared_ptr<const Model> model = book();
  LoadedTrace loaded = with_segments(model, "It was a dark and stormy", {{"one", "", 0, 2}});
  expect_refused(ErrorCode::kInvalidArgument, "expected a text with two or more named segments, found 1",
                 [&] { questions::why(loaded, {.methods = {"occlusion"}, .units = "segment"}, {}); });
}

// The viewer explains the same target as the command line and Python: an answer of several tokens as a whole, over every token of the text.
TEST(Explaining, AMultiTokenAnswerEqualsThatOfTheAttributionTarget) {
  const std::string text = "It was a dark and stormy";
  const std::shared_ptr<const Model> model = book();
  LoadedTrace loaded = with_segments(model, text, {});
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
