// Means over heads and layers: rows, columns, tiles, maps of key − query and statistics equal the means of what the heads show.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "looked_at.h"
#include "refused.h"
#include "viewer/figure/figures.h"
#include "viewer/parameters.h"
#include "viewer/questions/atlas.h"
#include "viewer/questions/compare.h"
#include "viewer/questions/lines.h"
#include "viewer/questions/mean.h"
#include "viewer/questions/tiles.h"
#include "viewer/questions/verify.h"
#include "viewer/view_state.h"

namespace clearhead::viewer {
namespace {

using looked_at::array_of;
using looked_at::kHeads;

// The mean weight of a pair over these layers and heads, from the rows of the maps. NaN if the pair is hidden.
double mean_of(const Trace& trace, const std::string& family, std::vector<int> layers, std::vector<int64_t> heads, int64_t query,
               int64_t key) {
  double sum = 0;
  for (const int layer : layers) {
    const LayerMap map = trace.map(family, layer);
    for (const int64_t head : heads) {
      const MapRow row = map.row(head, query);
      if (!std::isfinite(row.scores()[static_cast<size_t>(key)])) return std::nan("");
      sum += static_cast<double>(row.weights()[static_cast<size_t>(key)]);
    }
  }
  return sum / static_cast<double>(layers.size() * heads.size());
}

TEST(Means, ARowOfALayerIsTheMeanOfItsHeads) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 40});
  const Line line = questions::row_line(loaded, {.at = {"dec", 1, kMean}, .ranges = {{25, 26}}}, {});
  for (int64_t key = 0; key <= 25; ++key) {
    EXPECT_NEAR(line.values[static_cast<size_t>(key)], mean_of(loaded.trace(), "dec", {1}, {0, 1, 2, 3}, 25, key), 1e-7) << key;
  }
  EXPECT_EQ(line.state[26], 0) << "the future is hidden";
  EXPECT_NEAR(line.total, 1, 1e-6);
  EXPECT_EQ(line.count, 1);
  EXPECT_FALSE(line.entropy);
}

TEST(Means, LayersAndBothAreAveragedToo) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 40});
  const Line over_layers = questions::row_line(loaded, {.at = {"dec", kMean, 2}, .ranges = {{30, 31}}}, {});
  const Line over_all = questions::row_line(loaded, {.at = {"dec", kMean, kMean}, .ranges = {{30, 31}}}, {});
  const Line column = questions::column_line(loaded, {.at = {"dec", kMean, kMean}, .ranges = {{7, 8}}}, {});
  EXPECT_NEAR(over_layers.values[7], mean_of(loaded.trace(), "dec", {0, 1}, {2}, 30, 7), 1e-7);
  EXPECT_NEAR(over_all.values[7], mean_of(loaded.trace(), "dec", {0, 1}, {0, 1, 2, 3}, 30, 7), 1e-7);
  EXPECT_NEAR(column.values[30], over_all.values[7], 1e-7);
  EXPECT_EQ(column.state[6], 0) << "query 6 cannot see key 7";
}

TEST(Means, EveryHeadIsRenormalisedAndMultipliedByItsOwnNorms) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 40});
  for (const SinkRule sink : {SinkRule::kHide, SinkRule::kRenormalise}) {
    HeadLook at{"dec", 0, kMean, WeightKind::kOutput, sink};
    const Line mean = questions::row_line(loaded, {.at = at, .ranges = {{20, 22}}, .mean = true}, {});
    const Cells cells = questions::cells(loaded, {.at = at, .queries = {20, 21}, .keys = {0, 40}}, {});
    double at_5 = 0, total = 0;
    for (at.head = 0; at.head < kHeads; ++at.head) {
      const Line one = questions::row_line(loaded, {.at = at, .ranges = {{20, 22}}, .mean = true}, {});
      at_5 += static_cast<double>(one.values[5]) / kHeads;
      total += one.total / kHeads;
    }
    EXPECT_NEAR(mean.values[5], at_5, 1e-6);
    EXPECT_NEAR(mean.total, total, 1e-6);
    at.head = kMean;
    const Line first = questions::row_line(loaded, {.at = at, .ranges = {{20, 21}}}, {});
    EXPECT_NEAR(cells.max[5], first.values[5], 1e-6) << to_string(sink);
  }
}

TEST(Means, CellsPoolTheMeanNotTheLargestWeightsOfTheHeads) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 150});
  const Cells cells = questions::cells(loaded, {.at = {"dec", 0, kMean}, .z = 2, .queries = {0, 150}, .keys = {0, 150}}, {});
  ASSERT_EQ(cells.rows, 38);
  ASSERT_EQ(cells.columns, 38);
  EXPECT_TRUE(cells.exact);
  for (const auto& [r, c] : {std::pair<int64_t, int64_t>{0, 0}, {20, 3}, {37, 37}, {10, 20}}) {
    double most = 0, sum = 0;
    int64_t count = 0;
    for (int64_t i = 4 * r; i < std::min<int64_t>(150, 4 * r + 4); ++i) {
      for (int64_t j = 4 * c; j < std::min<int64_t>(150, 4 * c + 4); ++j) {
        const double weight = mean_of(loaded.trace(), "dec", {0}, {0, 1, 2, 3}, i, j);
        if (std::isnan(weight)) continue;
        most = std::max(most, weight);
        sum += weight;
        ++count;
      }
    }
    const auto at = static_cast<size_t>(r * 38 + c);
    if (count == 0) {
      EXPECT_TRUE(std::isnan(cells.max[at])) << r << " " << c;
    } else {
      EXPECT_NEAR(cells.max[at], most, 1e-6) << r << " " << c;
      EXPECT_NEAR(cells.mean[at], sum / static_cast<double>(count), 1e-6) << r << " " << c;
    }
  }
}

TEST(Means, ASampledPictureReadsSomeRowsOfEveryCellAndSaysSo) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 300});
  const Cells cells =
      questions::cells(loaded, {.at = {"dec", kMean, kMean}, .z = 4, .queries = {0, 300}, .keys = {0, 300}, .sampled_rows = 40}, {});
  EXPECT_FALSE(cells.exact);
  EXPECT_EQ(cells.sampled_rows, 2 * 19) << "two rows from each of 19 rows of cells";
  const Cells exact = questions::cells(loaded, {.at = {"dec", kMean, kMean}, .z = 4, .queries = {0, 300}, .keys = {0, 300}}, {});
  for (size_t at = 0; at < cells.max.size(); ++at) {
    EXPECT_EQ(std::isnan(cells.max[at]), std::isnan(exact.max[at])) << at;
    if (std::isnan(cells.max[at])) continue;
    EXPECT_LE(cells.max[at], exact.max[at]) << at;
  }
}

TEST(Means, MapsOfKeyMinusQueryUseTheWidestBand) {
  AttentionSpec spec;
  spec.topology.band = {.back = 5, .ahead = 2};
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 90, .causal = false, .spec = spec});
  const HeadLook at{"enc", 1, kMean};
  const OffsetColumns near = questions::offset_columns_of(loaded, at);
  EXPECT_EQ(near.back, 5);
  EXPECT_EQ(near.ahead, 2);
  const Cells cells = questions::near_cells(loaded, {.at = at, .queries = {0, 90}, .offsets = {-5, 3}}, {});
  for (const int64_t query : {0, 2, 47, 89}) {
    for (int64_t offset = -5; offset <= 2; ++offset) {
      const float cell = cells.max[static_cast<size_t>(query * 8 + offset + 5)];
      if (query + offset < 0 || query + offset >= 90) {
        EXPECT_TRUE(std::isnan(cell)) << query << " " << offset;
      } else {
        EXPECT_NEAR(cell, mean_of(loaded.trace(), "enc", {1}, {0, 1, 2, 3}, query, query + offset), 1e-7) << query << " " << offset;
      }
    }
  }
}

TEST(Means, StatisticsAreMeansAndHaveNoScores) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 40});
  const ViewFrame mean = questions::stats(loaded, {"dec", 0, kMean}, 40);
  double received = 0, entropy = 0;
  for (int64_t head = 0; head < kHeads; ++head) {
    const ViewFrame one = questions::stats(loaded, {"dec", 0, head}, 40);
    received += static_cast<double>(array_of<float>(one, "received")[3]) / kHeads;
    entropy += one.header.find("entropy_mean")->number() / kHeads;
  }
  EXPECT_NEAR(array_of<float>(mean, "received")[3], received, 1e-5);
  EXPECT_NEAR(mean.header.find("entropy_mean")->number(), entropy, 1e-5);
  EXPECT_TRUE(mean.header.find("scores")->find("previous")->is_null());
  EXPECT_EQ(mean.header.find("head")->string(), "mean");
}

TEST(Means, APairThatOnlyOneHeadSeesCountsAsZeroForTheOther) {
  constexpr float kHidden = std::numeric_limits<float>::quiet_NaN(), kNeverScored = -1;
  questions::HeadMean mean;
  mean.add(std::vector<float>{0.5f, kHidden, kHidden, kNeverScored, 0.25f});
  mean.add(std::vector<float>{kHidden, kHidden, kNeverScored, 0.5f, 0.75f});
  const std::vector<float> found = mean.result();
  EXPECT_EQ(found[0], 0.25f);
  EXPECT_TRUE(std::isnan(found[1]));
  EXPECT_EQ(found[2], kNeverScored);
  EXPECT_EQ(found[3], 0.25f);
  EXPECT_EQ(found[4], 0.5f);
}

TEST(Means, AreComparedLikeHeads) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 40});
  std::vector<ViewFrame> frames;
  const auto take = [&](ViewFrame frame) { frames.push_back(std::move(frame)); };
  questions::compare(loaded, loaded, {.before = {"dec", 0, kMean}, .after = {"dec", kMean, 2}}, take);
  const std::vector<float> before = array_of<float>(frames.back(), "before"), after = array_of<float>(frames.back(), "after");
  for (const auto& [query, key] : {std::pair<int64_t, int64_t>{25, 7}, {39, 39}, {3, 0}}) {
    const auto at = static_cast<size_t>(query * 40 + key);
    EXPECT_NEAR(before[at], mean_of(loaded.trace(), "dec", {0}, {0, 1, 2, 3}, query, key), 1e-6);
    EXPECT_NEAR(after[at], mean_of(loaded.trace(), "dec", {0, 1}, {2}, query, key), 1e-6);
  }
}

TEST(Means, QuestionsAboutOneHeadRefuseThemByName) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 20});
  expect_refused(ErrorCode::kInvalidArgument, "L1.mean: this question is about one head; expected the numbers of a layer and of a head.",
                 [&] {
                   questions::check_head(loaded, {"dec", 1, kMean});
                 });
  expect_refused(ErrorCode::kNotFound, "layer 7:", [&] { questions::row_line(loaded, {.at = {"dec", 7, kMean}, .ranges = {{1, 2}}}, {}); });
}

TEST(Means, AStateAndAQueryNameThem) {
  const ViewState state = parse_state("h=2.mean,mean.3,mean.mean,1.0");
  const std::vector<std::pair<int, int64_t>> expected{{2, kMean}, {kMean, 3}, {kMean, kMean}, {1, 0}};
  EXPECT_EQ(state.heads, expected);
  const QueryString query = parse_query("l=4&h=mean");
  const HeadLook at = QueryParameters(query).head();
  EXPECT_EQ(at.layer, 4);
  EXPECT_EQ(at.head, kMean);
  EXPECT_EQ(head_name(4, kMean) + " " + head_name(kMean, 3) + " " + head_name(kMean, kMean), "L4.mean mean.H3 mean");
}

TEST(Means, AFigureIsTitledByItsLayer) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 20});
  EXPECT_EQ(figure::figure_of(loaded, "v=map&f=dec&h=1.mean").name, "Attention of made-up, layer 1, mean of 4 heads");
  EXPECT_EQ(figure::figure_of(loaded, "v=lines&f=dec&h=mean.mean").name, "Attention of made-up, mean of all 8 heads");
}

}  // namespace
}  // namespace clearhead::viewer
