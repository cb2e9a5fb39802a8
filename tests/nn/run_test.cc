// Layers run in given memory, without a tape: the feed-forward block, its gates, rotary angles, and what attention reports to an observer.
#include "nn/run.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backends/registry.h"
#include "largest.h"
#include "random_tensor.h"
#include "tolerance.h"

namespace clearhead {
namespace {

nn::Linear random_linear(int64_t in, int64_t out, uint32_t seed) {
  const WeightPart part{random_tensor({out, in}, seed, 0.3F), false};
  return {backend().dense.prepare(&part, 1, WeightStorage::kF32), random_tensor({out}, seed + 1)};
}

double difference(const Tensor& a, const Tensor& b) { return largest_difference(a.data<float>(), b.data<float>(), a.numel()); }

TEST(FeedForward, ChunkedLongInputsMatchSingleRows) {
  Arena arena;
  clearhead::Run run{arena};
  nn::FeedForward mlp;
  mlp.activation = Activation::kGeluErf;
  mlp.up = random_linear(3, 8200, 1);  // wide enough that a piece is 256 rows
  mlp.down = random_linear(8200, 3, 3);
  const Tensor x = random_tensor({300, 3}, 5);
  Tensor together = Tensor::zeros({300, 3}), alone = Tensor::zeros({300, 3});
  nn::add_feed_forward(run, mlp, x, together);
  for (const int64_t row : {0, 149, 150, 255, 256, 299}) {
    Tensor target = alone.slice(0, row, row + 1);
    nn::add_feed_forward(run, mlp, x.slice(0, row, row + 1), target);
    EXPECT_LE(difference(together.slice(0, row, row + 1), target), tolerance::kWideLayer) << row;
  }
}

TEST(FeedForward, TheGateIsTheFirstHalfOfTheUpProjection) {
  Arena arena;
  clearhead::Run run{arena};
  nn::FeedForward mlp;
  mlp.activation = Activation::kGeluErf;
  mlp.is_gated = true;
  mlp.activation = Activation::kRelu;
  const WeightPart raise{Tensor::from<float>({2, -1, 3, 5}, {4, 1}), false}, lower{Tensor::from<float>({1, 10}, {1, 2}), false};
  mlp.up.weight = backend().dense.prepare(&raise, 1, WeightStorage::kF32);
  mlp.down.weight = backend().dense.prepare(&lower, 1, WeightStorage::kF32);
  Tensor out = Tensor::from<float>({100, 200}, {2, 1});
  nn::add_feed_forward(run, mlp, Tensor::from<float>({1, -1}, {2, 1}), out);
  // x = 1: gate (2, −1), up (3, 5): 2·3 + 0; x = −1: gate (−2, 1), up (−3, −5): 0 + 10·(−5).
  EXPECT_FLOAT_EQ(out.data<float>()[0], 106);
  EXPECT_FLOAT_EQ(out.data<float>()[1], 150);
}

TEST(Rotary, AnglesAreRightAtPositionsWhereFloatsWouldNotBe) {
  Arena arena;
  clearhead::Run run{arena};
  const Arena::Scope scope(arena);
  const ops::RotaryAngles angles = ops::rotary_angles(run, {1.0, 0.1}, false, {0, 100'003});
  EXPECT_FLOAT_EQ(angles.cosine.data<float>()[0], 1);
  EXPECT_NEAR(angles.cosine.data<float>()[2], std::cos(100'003.0), tolerance::kStored);
  EXPECT_NEAR(angles.sine.data<float>()[3], std::sin(10'000.3), tolerance::kStored);
}

TEST(Attention, AnUnwatchedLayerReportsNothingAndAWatchedOneAllKeys) {
  class Watch : public Observer {
   public:
    void begin(const RunPlan&) override {}
    bool wants(const Site& site) override { return site.layer == 1; }
    void take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) override {
      layers.push_back(site.layer);
      record.check_fresh();
      output = norms.output;
    }
    std::vector<int> layers{};
    Tensor output{};
  };
  Arena arena;
  Watch watch;
  clearhead::Run run{arena, &watch};
  nn::Attention attention;
  attention.heads = 4;
  attention.key_heads = 2;
  attention.head_dim = 3;
  attention.projection = random_linear(6, 24, 1);
  attention.output = random_linear(12, 6, 3);
  const Tensor x = random_tensor({5, 6}, 5);
  for (const int layer : {0, 1}) {
    Tensor out = Tensor::zeros({5, 6});
    nn::add_attention(run, attention, {"enc", layer, 0}, x, {1}, nullptr, out);
  }
  EXPECT_EQ(watch.layers, std::vector<int>{1});
  EXPECT_EQ(watch.output.shape(), (Shape{1, 4, 5}));
}

TEST(Attention, ACopyWithAnotherOutputProjectionReportsNormsOfItsOwn) {
  class Norms : public Observer {
   public:
    void begin(const RunPlan&) override {}
    bool wants(const Site&) override { return true; }
    void take(const Site&, const AttentionRecord&, const KeyNorms& norms) override { output.push_back(norms.output.clone()); }
    std::vector<Tensor> output{};
  };
  Arena arena;
  Norms norms;
  clearhead::Run run{arena, &norms};
  nn::Attention attention;
  attention.heads = attention.key_heads = 2;
  attention.head_dim = 3;
  attention.projection = random_linear(6, 18, 1);
  attention.output = random_linear(6, 6, 3);
  const Tensor x = random_tensor({5, 6}, 5);
  Tensor out = Tensor::zeros({5, 6});
  nn::add_attention(run, attention, {"enc", 0, 0}, x, {1}, nullptr, out);
  nn::Attention copy = attention;
  copy.output = random_linear(6, 6, 9);
  nn::add_attention(run, copy, {"enc", 0, 0}, x, {1}, nullptr, out);
  nn::add_attention(run, attention, {"enc", 0, 0}, x, {1}, nullptr, out);
  EXPECT_GT(difference(norms.output[0], norms.output[1]), 0.01);
  EXPECT_EQ(difference(norms.output[0], norms.output[2]), 0);
}

}  // namespace
}  // namespace clearhead
