// JSON: parsing, writing, limits, and fields that nothing reads.
#include "base/json.h"

#include <gtest/gtest.h>

#include "base/format.h"

namespace clearhead {
namespace {

std::string error_of(const std::string& text) {
  try {
    Json::parse(text, "a.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Json, RoundTripsEveryKindInTheOrderWritten) {
  const std::string text = R"({"z":1,"a":[true,null,-2,0.5,"é"],"m":{"k":9007199254740993}})";
  EXPECT_EQ(Json::parse(text, "a.json").dump(), text);
}

TEST(Json, RefusesDuplicateFieldsByName) { EXPECT_EQ(error_of(R"({"a":1,"a":2})"), "a.json: field \"a\" is given twice"); }

TEST(Json, RefusesTrailingTextAndDeepNesting) {
  EXPECT_EQ(error_of("{} x"), "a.json: not valid JSON at byte 4: invalid literal");
  EXPECT_EQ(error_of(std::string(100, '[')), "a.json: JSON is nested deeper than 64 levels");
}

TEST(Json, RefusesANumberBeyondDoublesWithoutRepeatingIt) {
  EXPECT_EQ(error_of("[" + std::string(400, '9') + "]"), "a.json: not valid JSON at byte 401: a number beyond the range of a double");
}

TEST(Json, RefusesTextBehindANul) { EXPECT_EQ(error_of(std::string("{}\0{", 4)), "a.json: not valid JSON at byte 2: a NUL byte"); }

TEST(Json, StopsAtEightMillionValuesWhateverTheirSize) {
  std::string text = "[";
  for (int i = 0; i < (1 << 23); ++i) text += "0,";
  EXPECT_EQ(error_of(text + "0]"), "a.json: JSON holds more than 8,388,608 values");
}

TEST(Fields, RefuseUnreadFieldsByName) {
  const Json json = Json::parse(R"({"back":4,"dilation":2})", "a.json");
  Fields fields(json, "a.json", "band");
  EXPECT_EQ(fields.integer("back"), 4);
  try {
    fields.refuse_rest();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("\"band.dilation\""), std::string::npos);
  }
}

TEST(Format, FormatsCountsAndByteSizes) {
  EXPECT_EQ(with_commas(1234567), "1,234,567");
  EXPECT_EQ(with_commas(-999), "-999");
  EXPECT_EQ(with_commas(-1000), "-1,000");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_bytes(3ull << 30), "3.0 GiB");
}

}  // namespace
}  // namespace clearhead
