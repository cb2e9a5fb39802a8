// Parsing of query parameters, of the page's state, and of sizes.
#include "viewer/parameters.h"

#include <gtest/gtest.h>

#include "viewer/export.h"
#include "viewer/view_state.h"

namespace clearhead::viewer {
namespace {

std::string refusal(const std::function<void()>& ask) {
  try {
    ask();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "";
}

TEST(QueryParameters, RangesAreListsOfNumbersAndHalfOpenPairs) {
  const std::vector<Range> ranges = parse_ranges("1204,1210-1220", "q");
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[0].begin, 1204);
  EXPECT_EQ(ranges[0].end, 1205);
  EXPECT_EQ(ranges[1].begin, 1210);
  EXPECT_EQ(ranges[1].end, 1220);
}

TEST(QueryParameters, MalformedRangesAreRefusedByName) {
  for (const char* text : {"", "a", "1-", "-1", "5-5", "7-3", "1,,2", "1,", "1.5", "99999999999999999999", "1 -2"}) {
    const std::string message = refusal([&] { parse_ranges(text, "q"); });
    EXPECT_EQ(message.substr(0, 2), "q:") << "\"" << text << "\": " << message;
  }
}

TEST(QueryParameters, NumbersAndChoicesAreRefusedByNameWithWhatWasExpected) {
  const QueryString query = parse_query("l=-1&z=x&pool=maximum&sink=mark");
  const QueryParameters parameters(query);
  EXPECT_EQ(refusal([&] { parameters.integer("l", 0, 0, 10); }), "l: expected a whole number from 0 to 10, found \"-1\".");
  EXPECT_EQ(refusal([&] { parameters.integer("z", 0, 0, 40); }), "z: expected a whole number from 0 to 40, found \"x\".");
  EXPECT_EQ(refusal([&] { parameters.choice("pool", {"both", "max"}); }), "pool: expected one of both, max, found \"maximum\".");
  EXPECT_EQ(refusal([&] { parameters.ranges("q"); }), "q: is missing; expected ranges like 1204,1210-1220.");
  EXPECT_EQ(parameters.choice("sink", {"mark", "hide"}), 0u);
}

TEST(QueryParameters, QueryStringsArePercentDecodedOnce) {
  const QueryString query = parse_query("a=1%2520&b=x+y&c&=z&d=%zz");
  EXPECT_EQ(query.find("a")->second, "1%20");
  EXPECT_EQ(query.find("b")->second, "x y");
  EXPECT_EQ(query.find("c")->second, "");
  EXPECT_EQ(query.find("d")->second, "%zz");
}

TEST(ViewState, ReadsThePagesOwnAddress) {
  const ViewState state = parse_state("v=map&f=dec&h=5.3,8.11&q=1204&k=300-340&d=in&w=output&s=log&sink=hide&x=0,10,4096,200&t=17&lang=zh");
  EXPECT_EQ(state.view, "map");
  ASSERT_EQ(state.heads.size(), 2u);
  EXPECT_EQ(state.heads[1], (std::pair<int, int64_t>(8, 11)));
  EXPECT_EQ(state.keys[0].end, 340);
  EXPECT_EQ(state.direction, "in");
  EXPECT_EQ(state.rectangle, (std::vector<int64_t>{0, 10, 4096, 200}));
  EXPECT_EQ(refusal([] { parse_state("h=5"); }), "") << "a head without a layer is ignored, as on the page";
  EXPECT_EQ(refusal([] { parse_state("h=a.b"); }).substr(0, 2), "h:");
}

TEST(Budget, IsASizeWithAUnit) {
  EXPECT_EQ(parse_budget("20MB"), 20'000'000u);
  EXPECT_EQ(parse_budget("1.5 GiB"), 1'610'612'736u);
  EXPECT_EQ(parse_budget("4096"), 4096u);
  for (const char* text : {"", "MB", "-1MB", "20XB", "1e30GB"}) EXPECT_NE(refusal([&] { parse_budget(text); }), "") << text;
}

}  // namespace
}  // namespace clearhead::viewer
