// Compares the visible pairs of a description, and the weight that chance would give them, with counts from the weights.
#include "observe/shown.h"

#include <gtest/gtest.h>

#include <cmath>

#include "clearhead/attend.h"
#include "random_tensor.h"
#include "tolerance.h"

namespace clearhead {
namespace {

constexpr int64_t kHeads = 2, kTokens = 150;

// The mean fraction of a row's visible keys that are in `keys`, counted one by one.
double counted(const LayerMap& map, int64_t head, Range rows, Range keys) {
  double sum = 0;
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const MapRow row = map.row(head, i);
    double all = 0, some = 0;
    for (int64_t j = 0; j < map.keys(); ++j) {
      if (std::isinf(row.scores()[static_cast<size_t>(j)])) continue;  // −∞: hidden
      ++all;
      some += j >= keys.begin && j < keys.end;
    }
    sum += all > 0 ? some / all : 0;
  }
  return sum / static_cast<double>(rows.size());
}

TEST(ChanceMass, IsTheShareOfVisibleKeysUnderEveryTopology) {
  Tensor mask = Tensor::zeros({1, kHeads, kTokens, kTokens}, DType::kBool);
  uint8_t* visible_pairs = reinterpret_cast<uint8_t*>(mask.mutable_raw());
  for (int64_t i = 0; i < mask.numel(); ++i) visible_pairs[i] = i % 7 < 3 || i % 11 == 0;
  std::vector<int32_t> ids(kTokens);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i / 40) - (i == 3 ? 1 : 0);
  const Tensor segments = Tensor::from(ids, {1, kTokens});
  std::vector<AttentionSpec> specs(5);
  specs[1].topology = causal();
  specs[2].topology = window(6, 3);
  specs[3].topology.mask = Mask{mask};
  specs[4].topology.segments = Segments{segments, segments};
  for (const AttentionSpec& spec : specs) {
    const AttentionRecord record =
        attend(random_tensor({1, kHeads, kTokens, 8}, 1), random_tensor({1, 1, kTokens, 8}, 2), random_tensor({1, 1, kTokens, 8}, 3), spec)
            .record;
    const LayerMap map({Frame{.queries = {0, kTokens}, .record = record}}, kTokens, kTokens);
    const Range rows{2, 140}, keys{30, 61};
    const std::vector<float> chance = chance_mass(map, rows, keys);
    ASSERT_EQ(chance.size(), static_cast<size_t>(kHeads));
    for (int64_t head = 0; head < kHeads; ++head) {
      const double expected = counted(map, head, rows, keys);
      EXPECT_GT(expected, 0);
      EXPECT_NEAR(chance[static_cast<size_t>(head)], expected, tolerance::kFew);
    }
  }
}

TEST(ChanceMass, WindowedFramesCountKeysByTheirPositionInTheText) {
  const AttentionRecord record =
      attend(random_tensor({1, kHeads, 4, 8}, 1), random_tensor({1, 1, 4, 8}, 2), random_tensor({1, 1, 4, 8}, 3), {}).record;
  const LayerMap map({Frame{.queries = {6, 10}, .record = record, .keys = {0, 6, 7, 9}}}, 10, 10);
  EXPECT_FLOAT_EQ(chance_mass(map, {6, 10}, {5, 9})[0], 0.5f);
  EXPECT_TRUE(std::isnan(chance_mass(map, {0, 6}, {5, 9})[0])) << "no row was kept in this range";
}

}  // namespace
}  // namespace clearhead
