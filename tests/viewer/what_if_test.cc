// Errors of requests to explain and to edit.
#include "viewer/questions/what_if.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/format.h"
#include "explain/attribution_target.h"
#include "generate/trace_of.h"
#include "looked_at.h"
#include "models/labelled_tokens.h"
#include "models/trace_text.h"
#include "refused.h"
#include "tolerance.h"
#include "viewer/opening.h"
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

std::shared_ptr<const Model> shipped(const std::string& name) { return load(std::string(CLEARHEAD_SOURCE_DIR) + "/models/" + name, {}); }

LoadedTrace opened(const std::shared_ptr<const Model>& model, const std::string& text) {
  LoadedTrace::Options options;
  options.model = model;
  return LoadedTrace(std::make_shared<Trace>(trace_of(*model, {.input = {.text = text}}).trace), options);
}

Json what_if_of(LoadedTrace& loaded, const WhatIfLook& look) {
  return questions::what_if(
      loaded, look, [](double, const std::string&) {}, nullptr);
}

constexpr char kTired[] = "The animal didn't cross the street because it was too tired.";
constexpr char kWide[] = "The animal didn't cross the street because it was too wide.";
constexpr int64_t kIt = 8;

// A model that labels tokens: each token's answer is that of "why" on the same text.
TEST(WhatIf, LabelsOfEveryTokenAreThoseOfTheAttributionTarget) {
  const std::shared_ptr<const Model> model = shipped("pronouns");
  LoadedTrace loaded = opened(model, kTired);
  const Json found = what_if_of(loaded, {.text = kWide});
  EXPECT_EQ(found.find("kind")->string(), "tag");
  EXPECT_TRUE(found.find("written")->is_null());
  const auto probability = [&](const char* text, const std::string& target) {
    return explain::make_target(model, {.text = text}, {.target = target})->probability();
  };
  int64_t tokens = 0;
  std::vector<std::string> of_it;
  for (const Json& one : found.find("answers")->items()) {
    const int64_t token = one.find("token")->integer();
    const std::string name = one.find("name")->string();
    if (token == kIt) {
      of_it.push_back(name);
      EXPECT_NEAR(one.find("before")->number(), probability(kTired, format("token {} {}", kIt, name)), 1e-6);
    }
    if (one.find("after")->is_null() || (token == kIt && of_it.size() == 1)) continue;
    EXPECT_NEAR(one.find("after")->number(), probability(kWide, format("token {} {}", token, name)), 1e-6) << token << name;
    ++tokens;
  }
  EXPECT_EQ(of_it, (std::vector<std::string>{"animal", "street"}));
  EXPECT_EQ(tokens, static_cast<int64_t>(labelled_tokens(*model, loaded.trace().plan().text).size()));
}

TEST(WhatIf, ANewTokenHasNoLabelBefore) {
  LoadedTrace loaded = opened(shipped("pronouns"), kTired);
  const Json found = what_if_of(loaded, {.text = kWide});
  int64_t without = 0;
  for (const Json& one : found.find("answers")->items()) without += one.find("before")->is_null() ? 1 : 0;
  EXPECT_EQ(without, 1);  // "wide"
}

// The tokens of the first translation keep their probabilities in both runs; what the model writes with the edit is a text of its own.
TEST(WhatIf, AHiddenWordIsMissingFromTheNewTranslation) {
  const std::shared_ptr<const Model> model = shipped("en-fr");
  LoadedTrace loaded = opened(model, "The red car stops in front of the old house.");
  const std::string before = trace_of(*model, {.input = {.text = "The red car stops in front of the old house."}}).written->text;
  const Json found = what_if_of(loaded, {.cut = {{.ids = {1, 2}}}});
  EXPECT_EQ(found.find("written")->find("before")->string(), before);
  const std::string after = found.find("written")->find("after")->string();
  EXPECT_NE(before.find("rouge"), std::string::npos);
  EXPECT_EQ(after.find("rouge"), std::string::npos) << after;
  EXPECT_NE(after.find("voiture"), std::string::npos) << after;
  const Json other = what_if_of(loaded, {.text = "The old house."});
  EXPECT_EQ(other.find("written")->find("before")->string(), before);
  EXPECT_EQ(other.find("written")->find("after")->string(), trace_of(*model, {.input = {.text = "The old house."}}).written->text);
}

TEST(TypedText, ErrorsNameNoOptionsOfTheCommandLine) {
  for (const char* name : {"pronouns", "en-fr"}) {
    LoadedTrace loaded = opened(shipped(name), "It was late.");
    std::string text;
    for (int i = 0; i < 400; ++i) text += "The animal. ";
    const auto run = [&](const std::string& typed) { loaded.run(typed, std::nullopt, [](double, const std::string&) {}); };
    expect_refused(ErrorCode::kInvalidArgument, "write at least one word", [&] { run(""); });
    expect_refused(ErrorCode::kInvalidArgument, "write at least one word", [&] { what_if_of(loaded, {.text = ""}); });
    if (loaded.model()->info().longest == 0) continue;
    expect_refused(ErrorCode::kTooLong, "Shorten the text", [&] { run(text); });
    expect_refused(ErrorCode::kTooLong, "Shorten the text", [&] { what_if_of(loaded, {.text = text}); });
  }
}

TEST(Explaining, ALabelOfATokenCanBeTheTarget) {
  LoadedTrace loaded = opened(shipped("pronouns"), kTired);
  const auto explained = [&](const std::string& target, std::optional<int64_t> token) {
    return questions::why(loaded, {.asked = {.target = target}, .token = token, .methods = {"attention"}}, {});
  };
  EXPECT_EQ(explained("", kIt).find("answer")->string(), "tag \"animal\"");
  const Json street = explained("street", kIt);
  EXPECT_EQ(street.find("answer")->string(), "tag \"street\"");
  EXPECT_LT(street.find("probability")->number(), 0.01);
  expect_refused(ErrorCode::kNotFound, "no class \"strat\"", [&] { explained("strat", kIt); });
  expect_refused(ErrorCode::kInvalidArgument, "token N LABEL", [&] { explained("street", std::nullopt); });
  expect_refused(ErrorCode::kNotFound, "token 99", [&] { explained("street", 99); });
}

// A special token, "wi", "de", " ", "open", " 7".
TEST(LabelledTokens, AreNeitherSpecialNorContinuationsNorSpaces) {
  const std::shared_ptr<const Model> model = shipped("pronouns");
  RunText text{.text = "wide open 7"};
  text.ids = {5, 5, 5, 5, 5, 5};
  text.offsets = {{0, 0}, {0, 2}, {2, 4}, {4, 5}, {5, 9}, {9, 11}};
  text.special = {1, 0, 0, 0, 0, 0};
  EXPECT_EQ(labelled_tokens(*model, text), (std::vector<int64_t>{1, 4, 5}));
}

// Hiding "street" or "wide" makes the pronoun undecided: neither is the only cause.
TEST(Explaining, ItemsWithAlmostTheSameEffectAreNamedWithTheLargest) {
  const std::shared_ptr<const Model> model = shipped("pronouns");
  LoadedTrace loaded = opened(model, kWide);
  const Json found = questions::why(loaded, {.token = kIt, .methods = {"occlusion"}}, {});
  const Json& cut = *found.find("cut");
  const double whole = found.find("probability")->number(), largest = whole - cut.find("unseen")->number();
  const Json::Array& drops = found.find("methods")->items()[0].find("drops")->items();
  std::vector<int64_t> expected;
  for (size_t item = 0; item < drops.size(); ++item) {
    const bool is_best = static_cast<int64_t>(item) == cut.find("item")->integer();
    if (!is_best && std::abs(drops[item].number()) >= 0.9 * std::abs(largest)) expected.push_back(static_cast<int64_t>(item));
  }
  std::vector<int64_t> also;
  for (const Json& one : cut.find("also")->items()) also.push_back(one.integer());
  std::sort(also.begin(), also.end());
  EXPECT_EQ(also, expected);
  EXPECT_FALSE(also.empty());
}

TEST(MainAnswers, AreTheLabelsThatStandOutOrTheMostProbableClasses) {
  const std::shared_ptr<const Model> model = shipped("pronouns");
  LoadedTrace loaded = opened(model, kWide);
  loaded.run(kTired, std::nullopt, [](double, const std::string&) {});
  const std::vector<explain::ShownAnswer>& found = loaded.options().answers;
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].name, "animal");
  EXPECT_EQ(found[0].token, kIt);
  EXPECT_TRUE(opening_state(loaded).ends_with("&q=8")) << opening_state(loaded);
  LoadedTrace next = opened(shipped("book"), "It was a dark and stormy");
  next.run("It was a dark and stormy", std::nullopt, [](double, const std::string&) {});
  const auto subject = explain::make_target(shipped("book"), {.text = "It was a dark and stormy"}, {});
  ASSERT_EQ(next.options().answers.size(), 3u);
  EXPECT_NEAR(next.options().answers[0].probability, subject->probability(), 1e-6);
  EXPECT_FALSE(next.options().answers[0].token.has_value());
}

}  // namespace
}  // namespace clearhead::viewer
