// Thumbnails of heads against the pooled rows that the page requests.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "looked_at.h"
#include "viewer/questions/head_pictures.h"
#include "viewer/questions/lines.h"

namespace clearhead::viewer {
namespace {

using looked_at::array_of;

LoadedTrace made(int64_t back) {
  AttentionSpec spec;
  LoadedTrace::Options own;
  if (back == 0) return looked_at::loaded_of({.trace = {.gradients_of = "class \"positive\""}});
  spec.topology.band = {.back = back, .ahead = 3};
  return looked_at::loaded_of({.causal = false, .trace = {.gradients_of = "class \"positive\""}, .spec = spec});
}

// Rows as the page requests them, one by one.
std::vector<std::vector<float>> rows_of(LoadedTrace& loaded, const HeadLook& at) {
  std::vector<std::vector<float>> rows;
  LineLook look{.at = at, .values = {0, LineLook::kAll}};
  for (int64_t i = 0; i < 300; ++i) {
    look.ranges = {{i, i + 1}};
    rows.push_back(array_of<float>(questions::row(loaded, look), "values"));
  }
  return rows;
}

TEST(HeadPictures, AreTheRowsPooledUnderEveryKindAndSinkRule) {
  for (const int64_t back : {int64_t{0}, int64_t{20}}) {
    LoadedTrace loaded = made(back);
    for (const auto& [weight, sink] : {std::pair{WeightKind::kValue, SinkRule::kHide},
                                       {WeightKind::kOutput, SinkRule::kRenormalise},
                                       {WeightKind::kFor, SinkRule::kMark},
                                       {WeightKind::kRaises, SinkRule::kHide},
                                       {WeightKind::kForValue, SinkRule::kHide}}) {
      HeadLook at{.family = loaded.trace().main_family(), .weight = weight, .sink = sink};
      std::map<std::pair<int, int64_t>, HeadPicture> found;
      questions::head_pictures(loaded, at, [&](HeadPicture head) { found[{head.layer, head.head}] = std::move(head); });
      ASSERT_EQ(found.size(), 8u);
      at.layer = 1;
      at.head = 2;
      const HeadPicture& head = found.at({1, 2});
      EXPECT_EQ(head.sampled_rows, 0);
      ASSERT_EQ(head.rows, 64);
      ASSERT_EQ(head.columns, back > 0 ? 24 : 64);
      EXPECT_EQ(head.offsets.size(), back > 0 ? 24 : 0);
      const auto rows = rows_of(loaded, at);
      // The mass without sinks is computed here as 1 − their mass, in a row as the sum of the other weights.
      const double bound = sink == SinkRule::kRenormalise ? 5e-3 : 2e-6;
      const double of_sums = is_gradient(weight) ? 2e-6 : 0;  // ∂y/∂P is a sum whose order depends on the block size
      std::vector<float> expected(head.cells.size(), 0);
      double sum = 0;
      for (int64_t i = 0; i < 300; ++i) {
        for (int64_t j = 0; j < 300; ++j) {
          const float value = rows[static_cast<size_t>(i)][static_cast<size_t>(j)];
          sum += static_cast<double>(value);
          const int64_t column = back > 0 ? j - i + back : j * 64 / 300;
          if (column < 0 || column >= head.columns) continue;
          float& cell = expected[static_cast<size_t>(i * 64 / 300 * head.columns + column)];
          cell = std::max(cell, value);
        }
      }
      EXPECT_NEAR(head.sum, sum, std::max(1e-5, bound) * sum) << to_string(weight);
      int64_t seen = 0;
      for (size_t c = 0; c < expected.size(); ++c) {
        if (std::isnan(head.cells[c])) {
          EXPECT_EQ(expected[c], 0) << "hidden";
        } else {
          ++seen;
          EXPECT_NEAR(head.cells[c], expected[c], bound * std::abs(expected[c]) + of_sums) << to_string(weight) << " cell " << c;
        }
      }
      EXPECT_GT(seen, 400);
    }
  }
}

TEST(HeadPictures, FromSampledRowsReportTheirNumber) {
  LoadedTrace loaded = made(0);
  std::vector<HeadPicture> sampled, exact;
  const HeadLook at{.family = "dec", .weight = WeightKind::kFor};
  questions::head_pictures(loaded, at, [&](HeadPicture head) { sampled.push_back(std::move(head)); }, {.sampled_rows = 128});
  questions::head_pictures(loaded, at, [&](HeadPicture head) { exact.push_back(std::move(head)); });
  ASSERT_EQ(sampled.size(), exact.size());
  for (size_t i = 0; i < exact.size(); ++i) {
    EXPECT_EQ(sampled[i].sampled_rows, 128);
    EXPECT_NE(sampled[i].cells, exact[i].cells);
    EXPECT_NEAR(sampled[i].sum, exact[i].sum, 0.5 * exact[i].sum);
  }
}

TEST(HeadPictures, ComeAsFramesOfTheAtlas) {
  LoadedTrace loaded = made(0);
  std::vector<ViewFrame> frames;
  questions::atlas_under(loaded, {.family = "dec", .weight = WeightKind::kAgainst},
                         [&](ViewFrame frame) { frames.push_back(std::move(frame)); });
  ASSERT_EQ(frames.size(), 8u);
  const Json& header = frames[5].header;
  EXPECT_EQ(header.find("event")->string(), "heads");
  EXPECT_EQ(header.find("weight")->string(), "against");
  EXPECT_EQ(header.find("heads")->items()[0].find("layer")->integer(), 1);
  EXPECT_EQ(header.find("heads")->items()[0].find("head")->integer(), 1);
  EXPECT_GT(header.find("heads")->items()[0].find("sum")->number(), 0);
  EXPECT_EQ(array_of<uint8_t>(frames[5], "thumbnails").size(), 64u * 64u);
  LoadedTrace without = looked_at::loaded_of();
  EXPECT_THROW(questions::atlas_under(without, {.family = "dec", .weight = WeightKind::kAgainst}, [](const ViewFrame&) {}), NotKept);
}

}  // namespace
}  // namespace clearhead::viewer
