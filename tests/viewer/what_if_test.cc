// How two texts are laid over each other, and what requests to explain and to edit are refused for.
#include "viewer/questions/what_if.h"

#include <gtest/gtest.h>

#include "looked_at.h"
#include "refused.h"
#include "viewer/questions/why.h"

namespace clearhead {
namespace {

std::vector<std::array<int64_t, 3>> pieces(const std::vector<int32_t>& before, const std::vector<int32_t>& after) {
  std::vector<std::array<int64_t, 3>> out;
  for (const Aligned& one : aligned(before, after)) out.push_back({one.before, one.after, one.count});
  return out;
}

using Pieces = std::vector<std::array<int64_t, 3>>;

TEST(Aligned, TextsThatAreEqualAreOnePiece) { EXPECT_EQ(pieces({1, 2, 3}, {1, 2, 3}), (Pieces{{0, 0, 3}})); }
TEST(Aligned, ASwappedWordIsInNeither) { EXPECT_EQ(pieces({1, 2, 3}, {1, 9, 3}), (Pieces{{0, 0, 1}, {2, 2, 1}})); }
TEST(Aligned, WhatIsPutInMovesTheRest) { EXPECT_EQ(pieces({1, 2}, {1, 9, 8, 2}), (Pieces{{0, 0, 1}, {1, 3, 1}})); }
TEST(Aligned, WhatStandsBetweenTwoEditsIsFound) { EXPECT_EQ(pieces({1, 2, 3, 4, 5}, {9, 2, 3, 8, 7, 5}), (Pieces{{1, 1, 2}, {4, 5, 1}})); }
TEST(Aligned, EmptyTextsHaveNothing) { EXPECT_TRUE(aligned({}, {1}).empty()); }
TEST(Aligned, LongStretchesThatDifferAreNotSought) {
  std::vector<int32_t> before(3000, 1), after(3000, 2);
  before.back() = after.back() = before[7] = after[9] = 5;
  EXPECT_EQ(pieces(before, after), (Pieces{{2999, 2999, 1}}));
}

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
