// Nearest names, error messages, and valid UTF-8 prefixes.
#include <gtest/gtest.h>

#include "base/format.h"
#include "base/nearest.h"
#include "base/utf8.h"
#include "refused.h"

namespace clearhead {
namespace {

TEST(NearestNames, AreOrderedByEditDistanceAndOmitDistantNames) {
  EXPECT_EQ(nearest_names("wegiht", {"bias", "weight", "weights", "embeddings"}), (std::vector<std::string>{"weight", "weights"}));
  EXPECT_EQ(nearest_names("a.b", {"a.b", "a.c", "a.d", "a.e"}, 2), (std::vector<std::string>{"a.b", "a.c"}));
  EXPECT_EQ(nearest_hint("zzzzzz", {"bias"}), "");
  EXPECT_EQ(nearest_hint("bia", {"bias", "bits"}), "; nearest: \"bias\", \"bits\"");
}

TEST(Errors, QuoteTextAsOneLineOfValidUtf8) {
  EXPECT_EQ(one_line("é\n\t\x1B[0m\x7F"), "é\\n\\t\\x1b[0m\\x7f");
  EXPECT_EQ(one_line("a\xFF\xE4\xB8z"), "a\uFFFD\uFFFD\uFFFDz");
  EXPECT_EQ(one_line(""), "");
  EXPECT_EQ(error_of([] { fail(ErrorCode::kFormat, "\"{}\" is wrong", "a\nb"); }), "kFormat: \"a\\nb\" is wrong");
}

TEST(Errors, TruncateLongQuotesInTheMiddle) {
  std::string middle;
  for (int i = 0; i < 100'000; ++i) middle += "中";
  for (const char* shift : {"", "a", "ab"}) {
    const std::string line = one_line("begin" + std::string(shift) + middle + shift + "end");
    EXPECT_LT(line.size(), 2'020u);
    EXPECT_EQ(line.substr(0, 5), "begin");
    EXPECT_EQ(line.substr(line.size() - 3), "end");
    EXPECT_EQ(line.find("\uFFFD"), std::string::npos);
  }
}

TEST(ValidUtf8Prefix, EndsBeforeTheFirstIllFormedSequence) {
  EXPECT_EQ(valid_utf8_prefix("plain ASCII, longer than eight"), 30u);
  EXPECT_EQ(valid_utf8_prefix("é中😀"), 9u);
  EXPECT_EQ(valid_utf8_prefix("ab\xC0\xAF"), 2u);                // overlong
  EXPECT_EQ(valid_utf8_prefix("ab\xE0\x9F\xBF"), 2u);            // overlong
  EXPECT_EQ(valid_utf8_prefix("\xED\x9F\xBF\xED\xA0\x80"), 3u);  // a surrogate
  EXPECT_EQ(valid_utf8_prefix("\xF4\x8F\xBF\xBF\xF4\x90\x80\x80"), 4u);
  EXPECT_EQ(valid_utf8_prefix("12345678\xE4\xB8"), 8u);  // truncated
}

}  // namespace
}  // namespace clearhead
