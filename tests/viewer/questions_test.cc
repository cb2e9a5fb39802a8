// The viewer's requests: their answers against the map's rows, weights and statistics.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "backends/oracle.h"
#include "largest.h"
#include "looked_at.h"
#include "tolerance.h"
#include "viewer/questions/atlas.h"
#include "viewer/questions/info.h"
#include "viewer/questions/lines.h"
#include "viewer/questions/mass.h"
#include "viewer/questions/text.h"
#include "viewer/questions/tiles.h"
#include "viewer/questions/verify.h"
#include "viewer/summary.h"
#include "viewer/words.h"

namespace clearhead::viewer {
namespace {

using looked_at::array_of;

LineLook line_at(int layer, int64_t head, std::vector<Range> ranges) {
  LineLook look;
  look.at.layer = layer;
  look.at.head = head;
  look.ranges = std::move(ranges);
  look.values = {0, LineLook::kAll};
  return look;
}

double number(const ViewFrame& frame, const char* name) { return frame.header.find(name)->number(); }

TEST(Questions, ARowIsTheMapsRowBitForBit) {
  LoadedTrace loaded = looked_at::loaded_of();
  const ViewFrame frame = questions::row(loaded, line_at(1, 3, {{217, 218}}));
  const std::vector<float> values = array_of<float>(frame, "values"), exact = loaded.trace().map("dec", 1).row(3, 217).weights();
  ASSERT_EQ(values.size(), 300u);
  for (size_t j = 0; j < values.size(); ++j) ASSERT_EQ(values[j], exact[j]) << "key " << j;
  EXPECT_EQ(frame.header.find("visible")->dump(), "[[0,218]]");
  EXPECT_EQ(frame.header.find("badge")->string(), "exact");
}

TEST(Questions, ARowReportsItsSumEntropyAndLogSumExp) {
  LoadedTrace loaded = looked_at::loaded_of();
  const LayerMap map = loaded.trace().map("dec", 0);
  const ViewFrame frame = questions::row(loaded, line_at(0, 1, {{150, 151}}));
  const OracleRow eager = oracle_row(map.frames()[0].record, Tensor(), 0, 1, 150);
  double entropy = 0, largest = -1e30, sum = 0;
  for (const double p : eager.weights) entropy -= p > 0 ? p * std::log(p) : 0;
  const MapRow row = map.row(1, 150);
  for (const float score : row.scores()) largest = std::max(largest, static_cast<double>(score));
  for (const float score : row.scores()) sum += std::exp(static_cast<double>(score) - largest);
  EXPECT_NEAR(number(frame, "total"), 1.0, tolerance::kRowSum);
  EXPECT_NEAR(number(frame, "entropy"), entropy, tolerance::kSum);
  EXPECT_NEAR(number(frame, "log_sum_exp"), largest + std::log(sum), tolerance::kSum);
}

TEST(Questions, TopKeysComeHeaviestFirst) {
  LoadedTrace loaded = looked_at::loaded_of();
  LineLook look = line_at(0, 2, {{299, 300}});
  look.top = 5;
  const ViewFrame frame = questions::row(loaded, look);
  std::vector<float> values = array_of<float>(frame, "values");
  const Json::Array& top = frame.header.find("top")->items();
  ASSERT_EQ(top.size(), 5u);
  for (const Json& item : top) {
    const auto best = std::max_element(values.begin(), values.end());
    EXPECT_EQ(item.find("begin")->integer(), best - values.begin());
    EXPECT_EQ(item.find("weight")->number(), static_cast<double>(*best));
    *best = -1;
  }
}

TEST(Questions, SeveralRowsAddUpAndTheirMeanDivides) {
  LoadedTrace loaded = looked_at::loaded_of();
  const std::vector<float> sum = array_of<float>(questions::row(loaded, line_at(0, 0, {{10, 12}, {40, 41}})), "values");
  LineLook look = line_at(0, 0, {{10, 12}, {40, 41}});
  look.mean = true;
  const std::vector<float> mean = array_of<float>(questions::row(loaded, look), "values");
  const LayerMap map = loaded.trace().map("dec", 0);
  for (size_t j = 0; j < sum.size(); ++j) {
    double expected = 0;
    for (const int64_t i : {10, 11, 40}) expected += static_cast<double>(map.row(0, i).weights()[j]);
    ASSERT_NEAR(static_cast<double>(sum[j]), expected, tolerance::kStored);
    ASSERT_NEAR(static_cast<double>(mean[j]), expected / 3, tolerance::kStored);
  }
}

TEST(Questions, WordsAddUpTheirPieces) {
  LoadedTrace loaded = looked_at::loaded_of();
  LineLook look = line_at(0, 0, {{299, 300}});
  look.words = true;
  look.top = 1024;
  const ViewFrame frame = questions::row(loaded, look);
  const std::vector<float> values = array_of<float>(frame, "values");
  size_t longer = 0;
  for (const Json& item : frame.header.find("top")->items()) {
    double sum = 0;
    for (int64_t j = item.find("begin")->integer(); j < item.find("end")->integer(); ++j)
      sum += static_cast<double>(values[static_cast<size_t>(j)]);
    ASSERT_NEAR(item.find("weight")->number(), sum, tolerance::kStored);
    longer += item.find("end")->integer() - item.find("begin")->integer() > 1;
  }
  EXPECT_GT(longer, 50u);
}

TEST(Questions, TheFirstKeyIsFoundToBeASink) {
  LoadedTrace loaded = looked_at::loaded_of();
  EXPECT_EQ(loaded.facts("dec").sinks, std::vector<int64_t>{0});
}

TEST(Questions, SinkRulesHideOrRenormaliseAndReportTheSinkMass) {
  LoadedTrace loaded = looked_at::loaded_of();
  const std::vector<float> raw = loaded.trace().map("dec", 0).row(2, 280).weights();
  for (const SinkRule rule : {SinkRule::kMark, SinkRule::kHide, SinkRule::kRenormalise}) {
    LineLook look = line_at(0, 2, {{280, 281}});
    look.at.sink = rule;
    const ViewFrame frame = questions::row(loaded, look);
    const std::vector<float> values = array_of<float>(frame, "values");
    const double mass = static_cast<double>(raw[0]), divisor = rule == SinkRule::kRenormalise ? 1 - mass : 1;
    EXPECT_NEAR(number(frame, "sink_mass"), mass, tolerance::kStored);
    EXPECT_EQ(values[0], rule == SinkRule::kMark ? raw[0] : 0.0f);
    for (size_t j = 1; j < values.size(); ++j)
      ASSERT_NEAR(static_cast<double>(values[j]), static_cast<double>(raw[j]) / divisor, tolerance::kSum);
    EXPECT_NEAR(number(frame, "total"), rule == SinkRule::kHide ? 1 - mass : 1.0, tolerance::kRowSum);
  }
}

TEST(Questions, ValueAndOutputWeightsMultiplyByTheNormsOfTheirHead) {
  LoadedTrace loaded = looked_at::loaded_of();
  const std::vector<float> raw = loaded.trace().map("dec", 1).row(3, 200).weights();
  const KeyNorms& norms = loaded.trace().norms("dec", 1);
  for (const WeightKind kind : {WeightKind::kValue, WeightKind::kOutput}) {
    LineLook look = line_at(1, 3, {{200, 201}});
    look.at.weight = kind;
    const std::vector<float> values = array_of<float>(questions::row(loaded, look), "values");
    const float* norm = kind == WeightKind::kValue ? norms.value.data<float>() + 1 * 300 : norms.output.data<float>() + 3 * 300;
    for (size_t j = 0; j < values.size(); ++j) ASSERT_FLOAT_EQ(values[j], raw[j] * norm[j]);
  }
}

TEST(Questions, AColumnContainsTheWeightOfTheKeyInEveryRow) {
  LoadedTrace loaded = looked_at::loaded_of();
  const ViewFrame frame = questions::column(loaded, line_at(1, 1, {{77, 78}}));
  const std::vector<float> values = array_of<float>(frame, "values");
  double total = 0;
  const LayerMap map = loaded.trace().map("dec", 1);
  for (int64_t i = 0; i < 300; ++i) {
    ASSERT_EQ(values[static_cast<size_t>(i)], map.row(1, i).weights()[77]) << "query " << i;
    total += static_cast<double>(values[static_cast<size_t>(i)]);
  }
  EXPECT_NEAR(number(frame, "total"), total, tolerance::kDoubleSum);
  EXPECT_NEAR(number(frame, "mean"), total / (300 - 77), tolerance::kDoubleSum);
  EXPECT_EQ(frame.header.find("visible")->dump(), "[[77,300]]");
}

TEST(Questions, ARenormalisedColumnDividesEveryRowByItsMassWithoutSinks) {
  LoadedTrace loaded = looked_at::loaded_of();
  LineLook look = line_at(1, 1, {{77, 78}});
  look.at.sink = SinkRule::kRenormalise;
  const std::vector<float> values = array_of<float>(questions::column(loaded, look), "values");
  const LayerMap map = loaded.trace().map("dec", 1);
  for (int64_t i = 77; i < 300; ++i) {
    const std::vector<float> row = map.row(1, i).weights();
    ASSERT_NEAR(static_cast<double>(values[static_cast<size_t>(i)]), static_cast<double>(row[77]) / (1 - static_cast<double>(row[0])),
                tolerance::kSum);
  }
}

TEST(Questions, UnpooledTilesEqualTheRows) {
  LoadedTrace loaded = looked_at::loaded_of();
  TileLook look;
  look.at = {"dec", 0, 1};
  look.x = 1;
  look.y = 1;
  look.planes.f32 = true;
  const ViewFrame frame = questions::tile(loaded, look);
  const std::vector<float> cells = array_of<float>(frame, "max");
  ASSERT_EQ(cells.size(), 44u * 44u);
  EXPECT_EQ(frame.header.find("queries")->dump(), "[256,300]");
  for (int64_t r = 0; r < 44; ++r) {
    const std::vector<float> row = loaded.trace().map("dec", 0).row(1, 256 + r).weights();
    for (int64_t c = 0; c < 44; ++c) {
      const float cell = cells[static_cast<size_t>(r * 44 + c)];
      if (c > r) {
        ASSERT_TRUE(std::isnan(cell));
      } else {
        ASSERT_EQ(cell, row[static_cast<size_t>(256 + c)]);
      }
    }
  }
}

TEST(Questions, PooledTilesHoldMaxAndMeanOfTheirVisibleWeightsToTheRaggedEnd) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 301});
  TileLook look;
  look.at = {"dec", 1, 2};
  look.z = 2;
  look.planes.f32 = true;
  const ViewFrame frame = questions::tile(loaded, look);
  const std::vector<float> max = array_of<float>(frame, "max"), mean = array_of<float>(frame, "mean");
  const int64_t side = 76;  // ⌈301 / 4⌉: the last cell is one weight wide
  ASSERT_EQ(frame.header.find("rows")->integer(), side);
  std::vector<std::vector<float>> rows;
  for (int64_t i = 0; i < 301; ++i) rows.push_back(loaded.trace().map("dec", 1).row(2, i).weights());
  for (int64_t r = 0; r < side; ++r) {
    for (int64_t c = 0; c < side; ++c) {
      double most = -1, sum = 0;
      int64_t count = 0;
      for (int64_t i = 4 * r; i < std::min<int64_t>(301, 4 * r + 4); ++i) {
        for (int64_t j = 4 * c; j < std::min<int64_t>(i + 1, 4 * c + 4); ++j) {
          most = std::max(most, static_cast<double>(rows[static_cast<size_t>(i)][static_cast<size_t>(j)]));
          sum += static_cast<double>(rows[static_cast<size_t>(i)][static_cast<size_t>(j)]);
          ++count;
        }
      }
      const size_t at = static_cast<size_t>(r * side + c);
      if (count == 0) {
        ASSERT_TRUE(std::isnan(max[at]) && std::isnan(mean[at])) << r << ", " << c;
      } else {
        ASSERT_EQ(static_cast<double>(max[at]), most) << r << ", " << c;
        ASSERT_NEAR(static_cast<double>(mean[at]), sum / static_cast<double>(count), tolerance::kStored) << r << ", " << c;
      }
    }
  }
}

TEST(Questions, CodesOfATileStayWithinTheirReportedError) {
  LoadedTrace loaded = looked_at::loaded_of();
  TileLook look;
  look.at = {"dec", 0, 0};
  const ViewFrame coded = questions::tile(loaded, look);
  look.planes.f32 = true;
  const std::vector<float> cells = array_of<float>(questions::tile(loaded, look), "max");
  const std::vector<uint8_t> codes = array_of<uint8_t>(coded, "max");
  const Json& say = *coded.header.find("codes")->find("max");
  const double lo = say.find("lo")->number(), hi = say.find("hi")->number(), error = say.find("error")->number();
  Largest worst;
  for (size_t i = 0; i < cells.size(); ++i) {
    if (std::isnan(cells[i])) {
      ASSERT_EQ(codes[i], 0);
      continue;
    }
    const double decoded = codes[i] <= 2 ? 0 : lo * std::pow(hi / lo, (codes[i] - 3) / 252.0);
    worst.add(decoded - static_cast<double>(cells[i]));
  }
  EXPECT_LE(worst.value(), error * 1.001 + tolerance::kDoubleSum);
  EXPECT_GT(worst.value(), error * 0.9);
}

TEST(Questions, AnOverviewIsTheWholeMapInAtMost512Cells) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 600, .layers = 1});
  std::vector<ViewFrame> frames;
  questions::overview(loaded, {"dec", 0, 0}, std::nullopt, [&](ViewFrame frame) { frames.push_back(std::move(frame)); });
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].header.find("z")->integer(), 1);
  EXPECT_EQ(frames[0].header.find("rows")->integer(), 300);
  EXPECT_EQ(frames[0].header.find("badge")->string(), "exact");
  EXPECT_EQ(frames[0].header.find("event")->string(), "picture");
}

TEST(Questions, StatisticsAreRowEntropiesAndColumnSums) {
  LoadedTrace loaded = looked_at::loaded_of();
  const ViewFrame frame = questions::stats(loaded, {"dec", 1, 0}, 300);
  const std::vector<float> entropy = array_of<float>(frame, "entropy"), received = array_of<float>(frame, "received");
  ASSERT_EQ(entropy.size(), 300u);
  std::vector<double> columns(300, 0.0);
  for (int64_t i = 0; i < 300; ++i) {
    const OracleRow row = oracle_row(loaded.trace().map("dec", 1).frames()[0].record, Tensor(), 0, 0, i);
    double h = 0;
    for (size_t j = 0; j < 300; ++j) {
      columns[j] += row.weights[j];
      h -= row.weights[j] > 0 ? row.weights[j] * std::log(row.weights[j]) : 0;
    }
    ASSERT_NEAR(static_cast<double>(entropy[static_cast<size_t>(i)]), h, tolerance::kShownEntropy);
  }
  for (size_t j = 0; j < 300; ++j) ASSERT_NEAR(static_cast<double>(received[j]), columns[j], tolerance::kShownReceived);
}

TEST(LoadedTrace, CachesTheStatisticsOfRequestedHeads) {
  LoadedTrace loaded = looked_at::loaded_of();
  EXPECT_EQ(loaded.find_statistics("dec", 1, 2), nullptr);
  const HeadStatistics& found = questions::head_statistics(loaded, "dec", 1, 2, {});
  EXPECT_EQ(found.scores.head, 2);
  EXPECT_EQ(loaded.find_statistics("", 1, 2), &found) << "an empty name means the main family";
  EXPECT_EQ(loaded.find_statistics("dec", 1, 3), nullptr);
}

TEST(Questions, TheAtlasSendsEveryHeadOnceWithExactStatistics) {
  LoadedTrace loaded = looked_at::loaded_of();
  std::vector<std::pair<int64_t, int64_t>> heads;
  questions::atlas(loaded, "dec", [&](const ViewFrame& frame) {
    EXPECT_EQ(frame.header.find("badge")->string(), "exact");
    const int64_t count = static_cast<int64_t>(frame.header.find("heads")->size());
    EXPECT_EQ(array_of<uint8_t>(frame, "thumbnails").size(), static_cast<size_t>(count * 64 * 64));
    for (const Json& head : frame.header.find("heads")->items())
      heads.emplace_back(head.find("layer")->integer(), head.find("head")->integer());
  });
  ASSERT_EQ(heads.size(), 8u);
  for (int64_t i = 0; i < 8; ++i) EXPECT_EQ(heads[static_cast<size_t>(i)], (std::pair<int64_t, int64_t>(i / 4, i % 4)));
}

TEST(Questions, ThumbnailsOfShortTextsAreAsLargeAsTheText) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 9, .layers = 1});
  std::vector<std::vector<int64_t>> shapes;
  questions::atlas(loaded, "dec", [&](const ViewFrame& frame) { shapes.push_back(frame.arrays[0].shape); });
  EXPECT_EQ(shapes, (std::vector<std::vector<int64_t>>{{4, 9, 9}}));
}

TEST(Questions, MassIsTheMeanOverRowsOfTheWeightOnTheKeys) {
  LoadedTrace loaded = looked_at::loaded_of();
  for (const WeightKind kind : {WeightKind::kRaw, WeightKind::kOutput}) {
    for (const SinkRule rule : {SinkRule::kMark, SinkRule::kHide, SinkRule::kRenormalise}) {
      const std::vector<float> mass =
          array_of<float>(questions::mass(loaded, {"dec", {{100, 120}, {250, 251}}, {{0, 30}, {60, 61}}, kind, rule}), "mass");
      ASSERT_EQ(mass.size(), 8u);
      for (int layer = 0; layer < 2; ++layer) {
        for (int64_t head = 0; head < 4; ++head) {
          LineLook look = line_at(layer, head, {{100, 120}, {250, 251}});
          look.at.weight = kind;
          look.at.sink = rule;
          look.mean = true;
          const std::vector<float> row = array_of<float>(questions::row(loaded, look), "values");
          double expected = static_cast<double>(row[60]);
          for (size_t j = 0; j < 30; ++j) expected += static_cast<double>(row[j]);
          ASSERT_NEAR(static_cast<double>(mass[static_cast<size_t>(layer * 4 + head)]), expected, tolerance::kShownMass);
        }
      }
    }
  }
}

TEST(Questions, VerifyFindsShownWeightsWithinTheirBound) {
  AttentionSpec spec;
  spec.terms = {Alibi{Tensor::from<float>({0.5f, 0.25f, 0.125f, 0.0625f}, {4})}, SoftCap{20.0f}};
  spec.normaliser = Softmax{Tensor::from<float>({0.3f, -1.0f, 2.0f, 0.0f}, {4})};
  LoadedTrace loaded = looked_at::loaded_of({.spec = spec});
  for (const WeightKind kind : {WeightKind::kRaw, WeightKind::kValue}) {
    const Json found = questions::verify(loaded, {"dec", {{0, 1}, {1, 3}}, {{0, 200}}, {{0, 300}}, kind});
    EXPECT_TRUE(found.find("within")->boolean()) << found.dump();
    EXPECT_EQ(found.find("checked")->integer(), 2 * 64 * 300);
    EXPECT_EQ(found.find("of")->integer(), 2 * 200 * 300);
  }
}

TEST(Questions, GradientsAreServedAsRowsColumnsAndTilesLikeWeights) {
  AttentionSpec spec;
  spec.after.head_mask = Tensor::from<float>({1, 0.5f, 2, 1}, {4});
  LoadedTrace loaded = looked_at::loaded_of({.trace = {.gradients_of = "class \"positive\""}, .spec = spec});
  const Json info = questions::info(loaded);
  EXPECT_EQ(info.find("gradients_of")->string(), "class \"positive\"");
  EXPECT_EQ(info.find("families")->items()[0].find("weights")->dump(), R"(["raw","value","output","for","against","raises","lowers",)"
                                                                       R"("for-value","against-value","raises-value","lowers-value"])");
  for (const auto& [kind, shown] : {std::pair{WeightKind::kFor, GradientLook::kPositive},
                                    {WeightKind::kAgainst, GradientLook::kNegative},
                                    {WeightKind::kRaises, GradientLook::kRaises},
                                    {WeightKind::kLowers, GradientLook::kLowers},
                                    {WeightKind::kForValue, GradientLook::kPositive},
                                    {WeightKind::kAgainstValue, GradientLook::kNegative},
                                    {WeightKind::kRaisesValue, GradientLook::kRaises},
                                    {WeightKind::kLowersValue, GradientLook::kLowers}}) {
    const Json verdict = questions::verify(loaded, {"dec", {{0, 1}, {1, 2}}, {{0, 300}}, {{0, 300}}, kind});
    EXPECT_TRUE(verdict.find("within")->boolean()) << verdict.dump();
    EXPECT_GT(verdict.find("largest_difference")->number(), 0);
    std::vector<float> shares = loaded.trace().map("dec", 1).with(shown).row(3, 217).weights();
    if (length_of(kind) == LengthOf::kValue) {
      const Tensor lengths = loaded.trace().norms("dec", 1).value.select(0, 0);
      const Tensor of_head = lengths.select(0, 3 * lengths.size(0) / 4).contiguous();
      for (size_t key = 0; key < shares.size(); ++key) shares[key] *= of_head.data<float>()[key];
    }
    LineLook look = line_at(1, 3, {{217, 218}});
    look.at.weight = kind;
    const ViewFrame row = questions::row(loaded, look);
    EXPECT_EQ(array_of<float>(row, "values"), shares);
    EXPECT_TRUE(row.header.find("entropy")->is_null());
    look.ranges = {{40, 41}};
    const float expected = shares[40];
    EXPECT_FLOAT_EQ(array_of<float>(questions::column(loaded, look), "values")[217], expected);
    const ViewFrame tile = questions::tile(loaded, {.at = look.at, .planes = {.f32 = true}});
    EXPECT_FLOAT_EQ(array_of<float>(tile, "max")[217 * 256 + 40], expected);
    const ViewFrame near =
        questions::tile(loaded, {.at = look.at, .planes = {.f32 = true}, .near = OffsetColumns{.back = 200, .ahead = 0}});
    EXPECT_FLOAT_EQ(array_of<float>(near, "max")[217 * 201 + 200 - (217 - 40)], expected);
    look.at.sink = SinkRule::kRenormalise;
    EXPECT_THROW(questions::column(loaded, look), Error);
  }
  LoadedTrace without = looked_at::loaded_of();
  LineLook look = line_at(0, 0, {{5, 6}});
  look.at.weight = WeightKind::kFor;
  try {
    questions::row(without, look);
    FAIL() << "gradients that were not kept were shown";
  } catch (const NotKept& error) {
    EXPECT_NE(error.command().find("--gradients"), std::string::npos) << error.command();
  }
}

TEST(Questions, VerifyFindsAWeightThatIsWrong) {
  Trace trace = looked_at::trace_of({});
  // The recorded row statistics are off by a thousandth; Q and K are unchanged.
  Tensor l = trace.map("dec", 0).frames()[0].record.rows.l;
  for (int64_t i = 0; i < l.numel(); ++i) l.mutable_data<float>()[i] *= 1.001f;
  LoadedTrace loaded(std::make_shared<const Trace>(std::move(trace)), {});
  const Json found = questions::verify(loaded, {"dec", {{0, 1}}, {{100, 101}}, {{0, 300}}, WeightKind::kRaw});
  EXPECT_FALSE(found.find("within")->boolean());
  EXPECT_GT(found.find("largest_difference")->number(), found.find("bound")->number() * 10);
}

TEST(Questions, DataThatWasNotKeptIsRefusedWithTheCommandThatKeepsIt) {
  TraceOptions options;
  options.budget_bytes = 440'000;
  options.tail = 20;
  LoadedTrace loaded = looked_at::loaded_of({.trace = options});
  ASSERT_FALSE(loaded.facts("dec").all_rows);
  EXPECT_NO_THROW(questions::row(loaded, line_at(0, 0, {{290, 291}})));
  try {
    questions::row(loaded, line_at(0, 0, {{5, 6}}));
    FAIL() << "a row that was not kept was shown";
  } catch (const NotKept& error) {
    EXPECT_NE(error.command().find("--rows 5:6"), std::string::npos) << error.command();
  }
  EXPECT_THROW(questions::column(loaded, line_at(0, 0, {{5, 6}})), NotKept);
  EXPECT_THROW(questions::tile(loaded, {.at = {"dec", 0, 0}}), NotKept);
  std::string missing;
  const Json info = questions::info(loaded);
  for (const Json& item : info.find("missing")->items()) missing += item.find("feature")->string() + " ";
  EXPECT_NE(missing.find("column tile overview"), std::string::npos) << missing;
  EXPECT_EQ(missing.find("atlas"), std::string::npos) << "statistics were computed in the run";
  int64_t heads = 0;
  questions::atlas(loaded, "dec", [&](const ViewFrame& frame) { heads += static_cast<int64_t>(frame.header.find("heads")->size()); });
  EXPECT_EQ(heads, 8);
}

TEST(Questions, TextIsSentAsBytesWithWordIndicesAndSpecialFlags) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 8});
  const ViewFrame frame = questions::text(loaded, 0);
  EXPECT_EQ(frame.arrays[0].bytes, loaded.trace().plan().text.text);
  EXPECT_EQ(array_of<uint8_t>(frame, "flags"), (std::vector<uint8_t>{1, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(array_of<int32_t>(frame, "word"), (std::vector<int32_t>{-1, 0, 0, 1, 2, 2, 3, 4}));
  const ViewFrame part = questions::text(loaded, 0, Range{2, 5});
  EXPECT_EQ(part.arrays[0].bytes, "b2 w3 w4");
  EXPECT_EQ(part.header.find("byte_begin")->integer(), 3);
}

TEST(Questions, CancelledRequestsStop) {
  LoadedTrace loaded = looked_at::loaded_of();
  const std::atomic<bool> cancel{true};
  try {
    questions::overview(loaded, {"dec", 0, 0}, std::nullopt, [](const ViewFrame&) {}, {.cancel = &cancel});
    FAIL() << "a cancelled request completed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  }
}

TEST(Words, AreRunsOfLettersWithApostrophesSingleIdeographsAndMarks) {
  RunText text;
  text.text = "don't 東京 a.b ’x";
  const auto add = [&](int64_t begin, int64_t end) {
    text.offsets.push_back({begin, end});
    text.ids.push_back(0);
    text.special.push_back(0);
    text.pieces.push_back("");
  };
  for (const auto& [begin, end] : {std::pair{0, 3}, {3, 4}, {4, 5}, {6, 9}, {9, 12}, {13, 14}, {14, 15}, {15, 16}, {17, 20}, {20, 21}})
    add(begin, end);
  EXPECT_EQ(words_of(text), (std::vector<int32_t>{0, 0, 0, 1, 2, 3, 4, 5, 6, 7}));
}

TEST(Words, ATokenWithoutTextBelongsToTheWordThatBeginsWhereItStands) {
  RunText text{.text = "中国 hi",
               .ids = {1, 5, 6, 1, 4},
               .offsets = {{0, 0}, {0, 3}, {3, 6}, {6, 7}, {7, 9}},
               .special = {0, 0, 0, 0, 0},
               .pieces = {"▁", "中", "国", "▁", "hi"}};
  EXPECT_EQ(words_of(text), (std::vector<int32_t>{0, 0, 1, 2, 3}));
  EXPECT_TRUE(is_without_text(text, 0));
  EXPECT_FALSE(is_without_text(text, 3));
  text.special[0] = 1;
  EXPECT_FALSE(is_without_text(text, 0));
}

TEST(Questions, InfoReportsTheBandOfEveryLayer) {
  const auto bands = [](const AttentionSpec& spec) {
    LoadedTrace loaded = looked_at::loaded_of({.tokens = 40, .causal = false, .spec = spec});
    return questions::info(loaded).find("families")->items()[0].find("bands")->dump();
  };
  EXPECT_EQ(bands({.topology = window(7, 2)}), "[[7,2],[7,2]]");
  EXPECT_EQ(bands({.topology = causal(7)}), "[[7,0],[7,0]]");
  EXPECT_EQ(bands({.topology = causal()}), "[null,null]") << "no band: a query sees all keys before it";
  EXPECT_EQ(bands({}), "[null,null]");
}

TEST(Questions, InfoReportsWhyRowsOfALayerMayNotSumToOne) {
  const auto remainders = [](const AttentionSpec& spec) {
    LoadedTrace loaded = looked_at::loaded_of({.tokens = 40, .spec = spec});
    return questions::info(loaded).find("families")->items()[0].find("remainders")->dump();
  };
  const Tensor four = Tensor::from<float>({1, 0.5f, 2, 1}, {4});
  EXPECT_EQ(remainders({}), "[null,null]");
  EXPECT_EQ(remainders({.normaliser = Sparsemax{}}), "[null,null]");
  EXPECT_EQ(remainders({.normaliser = Softmax{.sinks = four}}), R"(["sink-logit","sink-logit"])");
  EXPECT_EQ(remainders({.normaliser = Sigmoid{-2}}), R"(["independent","independent"])");
  EXPECT_EQ(remainders({.after = {.head_mask = four}}), R"(["after","after"])");
}

TEST(Summary, DescribesASpecInWords) {
  EXPECT_EQ(summary_of({}, 32).en, "softmax(q·k/√32), every token sees every token");
  EXPECT_EQ(summary_of({}, 1).en, "softmax(q·k), every token sees every token");
  AttentionSpec spec;
  spec.topology = causal(99);
  spec.terms = {SoftCap{50}};
  EXPECT_EQ(summary_of(spec, 64).en, "softmax(50·tanh((q·k/√64)/50)), a token sees itself and 99 before it");
  EXPECT_EQ(summary_of(spec, 64).zh, "softmax(50·tanh((q·k/√64)/50))，词元可见自身及之前 99 个词元");
}

}  // namespace
}  // namespace clearhead::viewer
