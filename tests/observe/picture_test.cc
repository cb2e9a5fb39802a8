// Pictures of maps: colours, 8-bit codes, and attention sinks.
#include "observe/picture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "clearhead/error.h"
#include "largest.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// The lightness of an sRGB colour, CIE L*.
double lightness(Rgb colour) {
  const auto linear = [](uint8_t channel) {
    const double c = channel / 255.0;
    return c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4);
  };
  const double y = 0.2126 * linear(colour.red) + 0.7152 * linear(colour.green) + 0.0722 * linear(colour.blue);
  return y > 0.008856 ? 116 * std::cbrt(y) - 16 : 903.3 * y;
}

Rgb pixel(const Picture& picture, int64_t x, int64_t y) {
  const uint8_t* at = picture.rgb.data() + (y * picture.width + x) * 3;
  return {at[0], at[1], at[2]};
}
bool same(Rgb a, Rgb b) { return a.red == b.red && a.green == b.green && a.blue == b.blue; }

TEST(Cividis, RunsFromDarkBlueToYellowAndOnlyGetsLighter) {
  EXPECT_TRUE(same(cividis(0), {0x00, 0x22, 0x4e}));
  EXPECT_TRUE(same(cividis(255), {0xfe, 0xe8, 0x38}));
  for (int level = 1; level < 256; ++level) {
    EXPECT_GE(lightness(cividis(static_cast<uint8_t>(level))), lightness(cividis(static_cast<uint8_t>(level - 1))) - 0.2) << level;
  }
  EXPECT_GT(lightness(cividis(255)) - lightness(cividis(0)), 70);
}

TEST(Codes, EveryKindDecodesWithinTheErrorItStates) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> exponent(-8, 0);
  std::vector<float> cells(4000);
  for (float& cell : cells) cell = std::pow(10.0f, exponent(random));
  for (const Scale kind : {Scale::kLinear, Scale::kSqrt, Scale::kLog}) {
    const Codes codes = quantise(cells, kind);
    Largest largest;
    for (size_t i = 0; i < cells.size(); ++i) largest.add(static_cast<double>(decode(codes, codes.values[i]) - cells[i]));
    EXPECT_FLOAT_EQ(static_cast<float>(largest.value()), codes.error);
    EXPECT_LE(codes.error, kind == Scale::kLinear ? 0.5 / 253 + tolerance::kFew : 0.03) << static_cast<int>(kind);
  }
}

TEST(Codes, LargeArraysGetTheSameCodesAsSmallOnes) {
  std::vector<float> cells;
  for (int i = 0; i < 100'000; ++i) cells.push_back(std::exp(-20.0f * static_cast<float>(i % 50'021) / 50'021.0f));
  cells.insert(cells.end(), {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN(), 1.0f, 1e-30f});
  for (const Scale kind : {Scale::kLinear, Scale::kSqrt, Scale::kLog}) {
    const Codes many = quantise(cells, kind);
    for (size_t begin = 0; begin < cells.size(); begin += 1000) {
      std::vector<float> few(cells.begin() + static_cast<ptrdiff_t>(begin),
                             cells.begin() + static_cast<ptrdiff_t>(std::min(begin + 1000, cells.size())));
      const size_t count = few.size();
      few.insert(few.end(), {1.0f, 1e-30f});  // the same range of levels
      const Codes expected = quantise(few, kind);
      ASSERT_EQ(expected.high, many.high);
      if (expected.low != many.low) continue;
      for (size_t i = 0; i < count; ++i) ASSERT_EQ(many.values[begin + i], expected.values[i]) << cells[begin + i];
    }
  }
}

TEST(Codes, DistinguishHiddenNeverScoredAndZeroCells) {
  const std::vector<float> cells = {kNaN, -1.0f, 0.0f, 0.5f};
  for (const Scale kind : {Scale::kLinear, Scale::kSqrt, Scale::kLog}) {
    const Codes codes = quantise(cells, kind);
    EXPECT_EQ(codes.values, (std::vector<uint8_t>{0, 1, 2, 255}));
    EXPECT_TRUE(std::isnan(decode(codes, 0)));
    EXPECT_EQ(decode(codes, 1), -1.0f);
    EXPECT_EQ(decode(codes, 2), 0.0f);
    EXPECT_FLOAT_EQ(decode(codes, 255), 0.5f);
    EXPECT_NEAR(codes.error, 0.0f, tolerance::kStored);
  }
}

TEST(Codes, AllZeroCellsGetTheZeroCode) {
  const Codes codes = quantise(std::vector<float>(5, 0.0f), Scale::kLog);
  EXPECT_EQ(codes.values, std::vector<uint8_t>(5, 2));
  EXPECT_EQ(codes.error, 0.0f);
}

TEST(Picture, PutsQueriesDownAndKeysAcrossWithTheBrightestCellYellow) {
  const Tensor cells = Tensor::from<float>({0.0f, 1.0f, kNaN, 0.25f, 0.04f, -1.0f}, {2, 3});
  const Picture picture = paint(cells, {.scale = Scale::kSqrt, .cell_pixels = 4});
  ASSERT_EQ(picture.width, 12);
  ASSERT_EQ(picture.height, 8);
  EXPECT_TRUE(same(pixel(picture, 0, 0), cividis(0)));
  EXPECT_TRUE(same(pixel(picture, 7, 3), cividis(255)));
  EXPECT_TRUE(same(pixel(picture, 8, 0), PictureOptions{}.hidden));
  EXPECT_TRUE(same(pixel(picture, 0, 4), cividis(128)));  // √0.25
  EXPECT_TRUE(same(pixel(picture, 4, 7), cividis(51)));   // √0.04
  bool two_colours = false;
  for (int64_t x = 8; x < 12; ++x) two_colours = two_colours || !same(pixel(picture, x, 5), pixel(picture, 8, 5));
  EXPECT_TRUE(two_colours) << "a never-scored cell is hatched";
}

TEST(Picture, MarksSinkColumnsAboveTheCells) {
  const Picture picture = paint(Tensor::zeros({2, 5}), {.cell_pixels = 1, .marked_columns = {0, 3}});
  EXPECT_EQ(picture.height, 2 + 3);
  EXPECT_TRUE(same(pixel(picture, 3, 0), PictureOptions{}.mark));
  EXPECT_TRUE(same(pixel(picture, 2, 0), {255, 255, 255}));
  EXPECT_TRUE(same(pixel(picture, 2, 3), cividis(0)));
}

TEST(Picture, RefusesCellsThatAreNoMatrixAndZeroCellPixels) {
  expect_refused(ErrorCode::kInvalidArgument, "cells are f32 [4]; expected f32 [rows, columns]", [&] { paint(Tensor::zeros({4})); });
  expect_refused(ErrorCode::kInvalidArgument, "cells of 0 pixels", [&] { paint(Tensor::zeros({2, 2}), {.cell_pixels = 0}); });
}

AttentionRecord record_of(Topology topology, int64_t queries, int64_t keys) {
  AttentionRecord record;
  const int64_t heads = topology.mask ? topology.mask->visible.size(1) : 1;
  record.spec.topology = std::move(topology);
  record.q = Tensor::zeros({1, heads, queries, 4});
  record.keys = Tensor::zeros({1, 1, keys, 4});
  record.query_length = queries;
  return record;
}

TEST(Sinks, VisibleRowCountsFollowBandsAndSegments) {
  EXPECT_EQ(rows_that_see(record_of(causal(), 4, 4), 0), (std::vector<int64_t>{4, 3, 2, 1}));
  EXPECT_EQ(rows_that_see(record_of(causal(1), 4, 4), 0), (std::vector<int64_t>{2, 2, 2, 1}));
  EXPECT_EQ(rows_that_see(record_of(causal(), 2, 4), 0), (std::vector<int64_t>{2, 2, 2, 1}));
  Topology padded = full();
  padded.segments = Segments{Tensor::from<int32_t>({0, 0, 1, -1}, {1, 4}), Tensor::from<int32_t>({0, 0, 1, -1}, {1, 4})};
  EXPECT_EQ(rows_that_see(record_of(padded, 4, 4), 0), (std::vector<int64_t>{2, 2, 1, 0}));
}

TEST(Sinks, VisibleRowCountsFollowMasksBlockListsAndRules) {
  Topology masked = causal();
  masked.mask = Mask{Tensor::zeros({1, 2, 1, 4}, DType::kBool)};  // two heads; the second sees more of key 1
  for (const int64_t at : {0, 2, 3, 5}) masked.mask->visible.mutable_data<bool>()[at] = true;
  EXPECT_EQ(rows_that_see(record_of(masked, 4, 4), 0), (std::vector<int64_t>{4, 3, 2, 1}));
  Topology listed = full();
  listed.block_sparse = graph(Tensor::from<int32_t>({0, 0, 1, 3, 0, 3, 3, 3}, {2, 4}), 4).block_sparse;
  EXPECT_EQ(rows_that_see(record_of(listed, 4, 4), 0), (std::vector<int64_t>{1, 0, 0, 3}));
  Topology ruled = causal();
  ruled.visible = visible([](auto at) { return at.key != 1; });
  EXPECT_EQ(rows_that_see(record_of(ruled, 4, 4), 0), (std::vector<int64_t>{4, 0, 2, 1}));
  AttentionRecord watched = record_of(ruled, 4, 4);  // keeps the last two rows
  watched.q = watched.q.slice(2, 2, 4);
  watched.first_query = 2;
  EXPECT_EQ(rows_that_see(watched, 0), (std::vector<int64_t>{2, 0, 2, 1}));
  constexpr int64_t kLong = 2500;  // several chunks of rows and keys
  std::vector<int64_t> expected;
  for (int64_t key = 0; key < kLong; ++key) expected.push_back(key == 1 ? 0 : kLong - key);
  EXPECT_EQ(rows_that_see(record_of(ruled, kLong, kLong), 0), expected);
}

TEST(Sinks, AreWidelySeenKeysOrDelimitersWithEnoughMassInEnoughHeads) {
  // 100 keys, ten heads: key 0 receives half of every row in two heads, key 50 (a full stop) in one
  // head, and key 99 all of the only row that sees it.
  constexpr int64_t kKeys = 100;
  Tensor received_mass = Tensor::zeros({1, 10, kKeys});
  float* mass = received_mass.mutable_data<float>();
  std::vector<int64_t> seen(kKeys);
  for (int64_t key = 0; key < kKeys; ++key) seen[static_cast<size_t>(key)] = kKeys - key;
  mass[0] = mass[kKeys] = 50;
  mass[50] = 40;
  for (int64_t head = 0; head < 10; ++head) mass[head * kKeys + 99] = 1;
  const std::vector<Tensor> layers = {received_mass};
  EXPECT_EQ(find_sinks(layers, 0, seen, {}), (std::vector<int64_t>{0, 50}));
  EXPECT_EQ(find_sinks(layers, 0, seen, {}, {.heads = 0.2}), (std::vector<int64_t>{0}));
  std::vector<uint8_t> delimiters(kKeys, 0);
  delimiters[99] = 1;
  EXPECT_EQ(find_sinks(layers, 0, seen, delimiters), (std::vector<int64_t>{0, 50, 99}));
}

TEST(Sinks, HidingZerosTheirWeightsAndRenormalisingKeepsTheRowSum) {
  const std::vector<int64_t> sinks = {0, 2};
  std::vector<float> marked = {0.5f, 0.2f, 0.25f, 0.05f}, hidden = marked, renormalised = marked;
  EXPECT_NEAR(apply_sink_rule(marked, sinks, SinkRule::kMark), 0.75, tolerance::kStored);
  EXPECT_NEAR(apply_sink_rule(hidden, sinks, SinkRule::kHide), 0.75, tolerance::kStored);
  EXPECT_NEAR(apply_sink_rule(renormalised, sinks, SinkRule::kRenormalise), 0.75, tolerance::kStored);
  EXPECT_EQ(marked, (std::vector<float>{0.5f, 0.2f, 0.25f, 0.05f}));
  EXPECT_EQ(hidden, (std::vector<float>{0, 0.2f, 0, 0.05f}));
  EXPECT_NEAR(renormalised[1], 0.8f, tolerance::kFew);
  EXPECT_NEAR(renormalised[3], 0.2f, tolerance::kFew);
}

TEST(Sinks, KeyFactorsExcludeHiddenSinksFromATile) {
  EXPECT_TRUE(sink_key_factors({10, 13}, std::vector<int64_t>{11}, SinkRule::kMark).empty());
  EXPECT_TRUE(sink_key_factors({10, 13}, std::vector<int64_t>{0}, SinkRule::kHide).empty());
  const std::vector<float> factors = sink_key_factors({10, 13}, std::vector<int64_t>{11}, SinkRule::kHide);
  ASSERT_EQ(factors.size(), 3u);
  EXPECT_EQ(factors[0], 1.0f);
  EXPECT_TRUE(std::isnan(factors[1]));
}

}  // namespace
}  // namespace clearhead
