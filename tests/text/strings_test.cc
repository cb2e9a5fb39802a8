// String functions that equal those of Python 3.11 (tools/goldens/metrics.py): sigmas among marks and signs, every kind of whitespace.
#include "text/strings.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"

namespace clearhead::text {
namespace {

TEST(Strings, LowerStripAndSplitMatchPython) {
  const std::string path = std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/metrics/strings.json";
  const Json cases = Json::parse(read_file(path), path);
  ASSERT_GT(cases.size(), 50U);
  for (const Json& expected : cases.items()) {
    SCOPED_TRACE(expected.dump());
    const std::string& text = expected.find("text")->string();
    EXPECT_EQ(lower(text), expected.find("lower")->string());
    EXPECT_EQ(strip(text), expected.find("strip")->string());
    EXPECT_EQ(strip_end(text), expected.find("strip_end")->string());
    Json parts = Json::array();
    for (const std::string_view part : split_at_blanks(text)) parts.push(part);
    EXPECT_EQ(parts.dump(), expected.find("split")->dump());
  }
}

}  // namespace
}  // namespace clearhead::text
