// Numbers in texts: where one ends, and the shortest text for one.
#include "base/number.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace clearhead {
namespace {

TEST(Numbers, BeginATextAndEndAtTheFirstOtherCharacter) {
  for (const auto& [text, value, length] :
       {std::tuple{"20MB", 20.0, 2u}, {"1.5 GiB", 1.5, 3u}, {"-2e3x", -2000.0, 4u}, {"7", 7.0, 1u}, {"0x10", 0.0, 1u}, {"1e", 1.0, 1u}}) {
    const std::optional<LeadingNumber> read = leading_number(text);
    ASSERT_TRUE(read) << text;
    EXPECT_EQ(read->value, value) << text;
    EXPECT_EQ(read->length, length) << text;
  }
  for (const char* text : {"", " 1", "+1", "MB", "-", "1e999"}) EXPECT_FALSE(leading_number(text)) << text;
}

TEST(Numbers, HaveTheShortestTextThatReadsBackAsTheSameF32) {
  EXPECT_EQ(shortest_text(0.1F), "0.1");
  EXPECT_EQ(shortest_text(1.0F / 3), "0.33333334");
  EXPECT_EQ(shortest_text(-2), "-2");
  for (float value = std::numeric_limits<float>::min(); value < 1e38F; value *= 1.37F) {
    EXPECT_EQ(static_cast<float>(leading_number(shortest_text(value))->value), value);
    EXPECT_LE(shortest_text(value).size(), 14u);
  }
}

}  // namespace
}  // namespace clearhead
