// The pictures of an episode's observations: the colour of each cell, and the box of each tile.
#include "models/board.h"

#include <gtest/gtest.h>

#include "refused.h"

namespace clearhead {
namespace {

std::optional<BoardFacts> read(const std::string& json) {
  const Json config = Json::parse(json, "config.json");
  Fields fields(config, "config.json");
  return read_board(fields);
}

const BoardFacts kFacts{.rows = 2, .columns = 3, .colours = {{"wall", {10, 20, 30}}, {"floor", {250, 240, 230}}}};

BoardFacts::Colour pixel(const Tensor& picture, float x, float y) {
  const uint8_t* at = picture.data<uint8_t>() + (static_cast<int64_t>(y) * picture.size(1) + static_cast<int64_t>(x)) * 3;
  return {at[0], at[1], at[2]};
}

TEST(Board, EachCellOfATileHasTheColourOfItsWord) {
  const std::vector<std::string> observations = {"wall floor wall floor floor wall north", "floor unicorn floor", ""};
  const std::optional<DrawnSteps> drawn = draw_steps(kFacts, observations);
  ASSERT_TRUE(drawn);
  ASSERT_EQ(drawn->boxes.shape(), (Shape{3, 4}));
  const BoardFacts::Colour wall{10, 20, 30}, floor{250, 240, 230}, unknown{200, 200, 200}, white{255, 255, 255};
  const std::vector<std::vector<BoardFacts::Colour>> expected = {
      {wall, floor, wall, floor, floor, wall}, {floor, unknown, floor, white, white, white}, {white, white, white, white, white, white}};
  for (size_t step = 0; step < expected.size(); ++step) {
    const float* box = drawn->boxes.data<float>() + 4 * step;
    for (size_t cell = 0; cell < expected[step].size(); ++cell) {
      const float x = box[0] + box[2] * (static_cast<float>(cell % 3) + 0.5F) / 3;
      const float y = box[1] + box[3] * (static_cast<float>(cell / 3) + 0.5F) / 2;
      EXPECT_EQ(pixel(drawn->picture, x, y), expected[step][cell]) << "step " << step << ", cell " << cell;
    }
  }
}

TEST(Board, BoxesLieInThePictureAndDoNotOverlap) {
  const std::vector<std::string> observations(37, "wall");
  const std::optional<DrawnSteps> drawn = draw_steps(kFacts, observations);
  ASSERT_TRUE(drawn);
  const float* boxes = drawn->boxes.data<float>();
  for (size_t one = 0; one < observations.size(); ++one) {
    const float* a = boxes + 4 * one;
    EXPECT_TRUE(a[0] >= 0 && a[1] >= 0 && a[0] + a[2] <= static_cast<float>(drawn->picture.size(1)) &&
                a[1] + a[3] <= static_cast<float>(drawn->picture.size(0)));
    for (size_t other = 0; other < one; ++other) {
      const float* b = boxes + 4 * other;
      EXPECT_TRUE(a[0] >= b[0] + b[2] || b[0] >= a[0] + a[2] || a[1] >= b[1] + b[3] || b[1] >= a[1] + a[3]) << one << ", " << other;
    }
  }
}

TEST(Board, APictureThatNoItemRangeCanHoldIsNotDrawn) {
  EXPECT_TRUE(draw_steps(kFacts, std::vector<std::string>(1000, "wall")));
  EXPECT_FALSE(draw_steps(kFacts, std::vector<std::string>(20'000, "wall")));
  EXPECT_FALSE(draw_steps(kFacts, {}));
}

TEST(Board, WrittenFactsAreReadAgain) {
  const std::optional<BoardFacts> again = read(Json::object({{"board", json_of(kFacts)}}).dump());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->rows, 2);
  EXPECT_EQ(again->columns, 3);
  EXPECT_EQ(again->colours, kFacts.colours);
  EXPECT_FALSE(read("{}"));
}

TEST(Board, RefusesWrongFieldsByName) {
  const auto refused = [](const char* board, const char* message) {
    expect_refused(ErrorCode::kFormat, message, [&] { read(std::string(R"({"board": )") + board + "}"); });
  };
  refused(R"({"rows": 0, "colours": {}})", "board.rows");
  refused(R"({"colours": {"wall": "red"}})", "board.colours.wall");
  refused(R"({"colours": {"wall": "#12345g"}})", "board.colours.wall");
  refused(R"({"colours": ["#123456"]})", "board.colours");
  expect_refused(ErrorCode::kUnsupported, "field \"board.depth\" is not understood",
                 [] { read(R"({"board": {"colours": {}, "depth": 2}})"); });
}

}  // namespace
}  // namespace clearhead
