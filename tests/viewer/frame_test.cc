// ViewFrame: its binary and JSON forms, and conversion of numbers.
#include "viewer/frame.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "clearhead/tensor.h"
#include "viewer/json_text.h"

namespace clearhead::viewer {
namespace {

uint32_t u32_at(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  std::memcpy(&value, bytes.data() + at, 4);
  return value;
}

TEST(ViewFrame, HasAHeaderAndArraysAtMultiplesOfEight) {
  ViewFrame frame;
  frame.header["name"] = "x";
  const std::vector<uint8_t> bytes{1, 2, 3};
  const std::vector<float> numbers{0.5f, -2};
  frame.add("bytes", bytes);
  frame.add("numbers", numbers, {2, 1});
  frame.add_text("words", "né");
  const std::string out = frame.binary();
  ASSERT_EQ(out.substr(0, 4), "CHF1");
  const uint32_t length = u32_at(out, 4);
  EXPECT_EQ((8 + length) % 8, 0u);
  const Json header = Json::parse(out.substr(8, length), "frame");
  EXPECT_EQ(header.find("name")->string(), "x");
  const Json& arrays = *header.find("arrays");
  EXPECT_EQ(arrays.find("numbers")->dump(), R"({"dtype":"f32","shape":[2,1],"offset":8})");
  EXPECT_EQ(arrays.find("words")->find("shape")->dump(), "[3]");
  const size_t payload = 8 + length;
  EXPECT_EQ(out.substr(payload, 3), std::string("\1\2\3"));
  float second = 0;
  std::memcpy(&second, out.data() + payload + 12, 4);
  EXPECT_EQ(second, -2.0f);
  EXPECT_EQ(out.substr(payload + 16), "né");
}

TEST(ViewFrame, AsJsonHoldsTheSameNumbersInPlace) {
  ViewFrame frame;
  frame.header["layer"] = 3;
  const std::vector<float> numbers{0.1f, std::nanf(""), 1e-30f};
  frame.add("numbers", numbers);
  frame.add_text("text", "a\"</script>");
  const Json json = Json::parse(frame.json(), "frame");
  EXPECT_EQ(json.find("layer")->integer(), 3);
  const Json& data = *json.find("arrays")->find("numbers")->find("data");
  EXPECT_EQ(static_cast<float>(data.items()[0].number()), 0.1f);
  EXPECT_TRUE(data.items()[1].is_null());
  EXPECT_EQ(static_cast<float>(data.items()[2].number()), 1e-30f);
  EXPECT_EQ(json.find("arrays")->find("text")->find("data")->string(), "a\"</script>");
}

TEST(ViewFrame, WithoutFieldsIsStillJson) { EXPECT_EQ(ViewFrame().json(), R"({"arrays":{}})"); }

TEST(ViewFrame, StreamsPrefixEveryFrameByItsLength) {
  const std::string frame = ViewFrame().binary();
  EXPECT_EQ(u32_at(with_length(frame), 0), frame.size());
  EXPECT_EQ(with_length(frame).substr(4), frame);
}

TEST(NumbersText, ReadsBackToTheSameFloat) {
  const auto shortest = [](float value) {
    const std::string list = numbers_text({&value, 1});
    return list.substr(1, list.size() - 2);
  };
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    const uint32_t bits = static_cast<uint32_t>(random());
    float value = 0;
    std::memcpy(&value, &bits, 4);
    if (!std::isfinite(value)) continue;
    ASSERT_EQ(std::strtof(shortest(value).c_str(), nullptr), value) << shortest(value);
  }
  EXPECT_EQ(shortest(0.1f), "0.1");
  EXPECT_EQ(shortest(std::numeric_limits<float>::infinity()), "null");
}

TEST(HalfFloats, KeepEveryHalfAndRoundToTheNearest) {
  for (uint32_t half = 0; half < 0x10000u; ++half) {
    const float value = f16_to_f32(static_cast<uint16_t>(half));
    if (std::isnan(value)) continue;
    ASSERT_EQ(f32_to_f16(value), half) << value;
  }
  EXPECT_EQ(f32_to_f16(1.0f + 0x1p-11f), f32_to_f16(1.0f));  // a tie rounds to even
  EXPECT_EQ(f32_to_f16(1.0f + 3 * 0x1p-11f), f32_to_f16(1.0f + 0x1p-9f));
  EXPECT_EQ(f32_to_f16(65'519.0f), 0x7BFF);
  EXPECT_EQ(f32_to_f16(65'520.0f), 0x7C00);
  EXPECT_EQ(f32_to_f16(-1e9f), 0xFC00);
}

}  // namespace
}  // namespace clearhead::viewer
