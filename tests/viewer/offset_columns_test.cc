// Maps around the diagonal (api/tile and api/overview with axes=offset) contain the weights of the map, sheared; so do thumbnails of layers
// with a short band.
#include <gtest/gtest.h>

#include <cmath>

#include "clearhead/attend.h"
#include "looked_at.h"
#include "refused.h"
#include "viewer/questions/atlas.h"
#include "viewer/questions/tiles.h"

namespace clearhead::viewer {
namespace {

using looked_at::array_of;

LoadedTrace windowed(int64_t tokens) {
  AttentionSpec spec;
  spec.topology.band = {.back = 15, .ahead = 4};
  return looked_at::loaded_of({.tokens = tokens, .causal = false, .spec = spec});
}

TEST(OffsetMap, HoldsTheWeightOfEveryQueryAndOffset) {
  LoadedTrace loaded = windowed(301);
  const HeadLook at{"enc", 1, 2};
  const OffsetColumns near = questions::offset_columns_of(loaded, at);
  EXPECT_EQ(near.back, 15);
  EXPECT_EQ(near.ahead, 4);
  const LayerMap map = loaded.trace().map("enc", 1);
  for (const int64_t y : {0, 1}) {
    const ViewFrame frame = questions::tile(loaded, {.at = at, .y = y, .planes = {.mean = false, .f32 = true}, .near = near});
    const std::vector<float> cells = array_of<float>(frame, "max");
    EXPECT_EQ(frame.header.find("axes")->string(), "offset");
    for (int64_t i = 256 * y; i < std::min<int64_t>(301, 256 * (y + 1)); ++i) {
      const MapRow row = map.row(2, i);
      for (int64_t offset = -15; offset <= 4; ++offset) {
        const float cell = cells[static_cast<size_t>((i - 256 * y) * 20 + offset + 15)];
        if (i + offset < 0 || i + offset >= 301) {
          EXPECT_TRUE(std::isnan(cell)) << i << " " << offset;
        } else {
          EXPECT_EQ(cell, row.weights()[static_cast<size_t>(i + offset)]) << i << " " << offset;
        }
      }
    }
  }
}

TEST(OffsetMap, PoolsByMaximumAndMean) {
  LoadedTrace loaded = windowed(1500);
  const HeadLook at{"enc", 0, 1};
  const OffsetColumns near{15, 4};
  std::vector<ViewFrame> frames;
  questions::overview(loaded, at, near, [&](ViewFrame frame) { frames.push_back(std::move(frame)); });
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].header.find("z")->integer(), 2);
  EXPECT_EQ(frames[0].header.find("column_z")->integer(), 0);
  const Cells cells = questions::near_cells(loaded, {.at = at, .z = 2, .column_z = 1, .queries = {0, 1500}, .offsets = {-15, 5}}, {});
  const LayerMap map = loaded.trace().map("enc", 0);
  for (const int64_t r : {0, 7, 374}) {
    for (int64_t c = 0; c < 10; ++c) {
      double sum = 0;
      int64_t count = 0;
      float most = 0;
      for (int64_t i = 4 * r; i < 4 * r + 4; ++i) {
        const MapRow row = map.row(1, i);
        for (int64_t offset = 2 * c - 15; offset < 2 * c - 13; ++offset) {
          if (i + offset < 0 || i + offset >= 1500) continue;
          const float weight = row.weights()[static_cast<size_t>(i + offset)];
          most = std::max(most, weight);
          sum += static_cast<double>(weight);
          ++count;
        }
      }
      const auto cell = static_cast<size_t>(r * 10 + c);
      if (count == 0) {
        EXPECT_TRUE(std::isnan(cells.max[cell]));
        continue;
      }
      EXPECT_EQ(cells.max[cell], most);
      EXPECT_FLOAT_EQ(cells.mean[cell], static_cast<float>(sum / static_cast<double>(count)));
    }
  }
}

TEST(OffsetMap, RefusesTilesAndLayersOutOfRange) {
  LoadedTrace loaded = windowed(301);
  expect_refused(ErrorCode::kNotFound, "2 × 1 such tiles", [&] {
    questions::tile(loaded, {.at = {"enc", 0, 0}, .x = 1, .near = OffsetColumns{15, 4}});
  });
  expect_refused(ErrorCode::kNotFound, "layer 9", [&] { questions::tile(loaded, {.at = {"enc", 9, 0}, .near = OffsetColumns{15, 4}}); });
}

TEST(OffsetMap, IsTheThumbnailOfALayerWhoseBandIsShort) {
  LoadedTrace loaded = windowed(1280);
  const HeadStatistics& head = questions::head_statistics(loaded, "enc", 0, 3, {});
  EXPECT_EQ(head.thumbnail_offsets.begin, -15);
  EXPECT_EQ(head.thumbnail_offsets.end, 5);
  ASSERT_EQ(head.thumbnail.size(), 64u * 64u);
  const Cells cells = questions::near_cells(loaded, {.at = {"enc", 0, 3}, .queries = {0, 20}, .offsets = {-15, 5}}, {});
  float most = 0;
  for (int64_t i = 0; i < 20; ++i)
    most = std::max(most, std::isnan(cells.max[static_cast<size_t>(i * 20 + 15)]) ? 0 : cells.max[static_cast<size_t>(i * 20 + 15)]);
  EXPECT_EQ(head.thumbnail[48], most) << "column 48 of 64 is offset 0 of 20, and a row is 20 queries";
  LoadedTrace whole = looked_at::loaded_of({.tokens = 1280});
  EXPECT_EQ(questions::head_statistics(whole, "dec", 0, 3, {}).thumbnail_offsets.size(), 0);
}

}  // namespace
}  // namespace clearhead::viewer
