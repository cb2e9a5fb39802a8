// Normalisers and `after` of the reference, against hand-made rows and known laws. It does not
// use the oracle, which shares the reference's code.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "backends/ref/backward.h"
#include "backends/ref/ref.h"
#include "tolerance.h"

namespace clearhead {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Row {
  float out = 0, m = 0, l = 0, threshold = 0;
  std::vector<float> weights{};
};

// Queries of value 1, and keys whose only channel is their score. The values are 1, 10, 100, ….
AttentionRecord record_of(const std::vector<float>& scores, const AttentionSpec& spec, int64_t queries = 1) {
  AttentionRecord record;
  record.spec = spec;
  record.spec.score = Dot{1};
  record.q = Tensor::from(std::vector<float>(static_cast<size_t>(queries), 1), {1, 1, queries, 1});
  record.keys = Tensor::from(scores, {1, 1, static_cast<int64_t>(scores.size()), 1});
  record.query_length = queries;
  record.rows = {.m = Tensor::zeros({1, 1, queries}), .l = Tensor::zeros({1, 1, queries})};
  return record;
}

Tensor values_of(size_t keys) {
  std::vector<float> values;
  for (size_t j = 0; j < keys; ++j) values.push_back(std::pow(10.0f, static_cast<float>(j)));
  return Tensor::from(values, {1, 1, static_cast<int64_t>(keys), 1});
}

Tensor run(AttentionRecord& record, const Tensor& v) {
  Tensor out = Tensor::zeros({1, 1, record.query_length, 1});
  ref_backend().forward({.spec = record.spec, .q = record.q, .keys = record.keys, .v = v, .out = out, .rows = record.rows});
  return out;
}

std::vector<float> weights_of(const AttentionRecord& record, int64_t row, bool after = false) {
  const int64_t keys = key_length(record.keys);
  std::vector<float> out(static_cast<size_t>(keys));
  ref_backend().weights(
      {.record = record, .rows = &row, .row_count = 1, .keys = {0, keys}, .after = after, .out = out.data(), .out_stride = keys});
  return out;
}

Row row_of(const std::vector<float>& scores, const AttentionSpec& spec) {
  AttentionRecord record = record_of(scores, spec);
  const Tensor out = run(record, values_of(scores.size()));
  return {out.data<float>()[0], record.rows.m.data<float>()[0], record.rows.l.data<float>()[0],
          thresholds(record.rows, spec.normaliser).data<float>()[0], weights_of(record, 0)};
}

TEST(Normalise, SparsemaxProjectsOntoTheSimplex) {
  const Row row = row_of({1, 0.5f, -1, 0.5f}, {.normaliser = Sparsemax{}});  // τ = (1 + 0.5 + 0.5 − 1)/3
  EXPECT_FLOAT_EQ(row.m, 1.44269504f);
  EXPECT_NEAR(row.l, 1.0 / 3 - 1, tolerance::kFew);
  EXPECT_NEAR(row.threshold, 1.0 / 3, tolerance::kFew);
  EXPECT_NEAR(row.weights[0], 2.0 / 3, tolerance::kFew);
  EXPECT_NEAR(row.weights[3], 1.0 / 6, tolerance::kFew);
  EXPECT_EQ(row.weights[2], 0);
  EXPECT_NEAR(row.out, 2.0 / 3 + 10.0 / 6 + 1000.0 / 6, 1000 * tolerance::kFew);
}

TEST(Normalise, EntmaxSquaresWhatIsAboveItsThreshold) {
  const Row row = row_of({2, 2, -9}, {.normaliser = Entmax15{}});  // 2(1 − τ)² = 1
  EXPECT_FLOAT_EQ(row.m, 2.88539008f);
  EXPECT_NEAR(row.l, -std::sqrt(0.5), tolerance::kFew);
  EXPECT_NEAR(row.threshold, 1 - std::sqrt(0.5), tolerance::kFew);
  EXPECT_NEAR(row.weights[1], 0.5, tolerance::kFew);
  EXPECT_EQ(row.weights[2], 0);
  const Row two = row_of({1, 0}, {.normaliser = Entmax15{}});  // x = P₀, √P₀ − √(1 − P₀) = 1/2
  EXPECT_NEAR(std::sqrt(two.weights[0]) - std::sqrt(two.weights[1]), 0.5, tolerance::kFew);
  EXPECT_NEAR(two.weights[0] + two.weights[1], 1, tolerance::kFew);
}

TEST(Normalise, SigmoidNormalisesEveryPairIndependently) {
  const Row row = row_of({0, 2, -40}, {.normaliser = Sigmoid{.bias = -1}});
  EXPECT_NEAR(row.weights[0], 1 / (1 + std::exp(1.0)), tolerance::kStored);
  EXPECT_NEAR(row.weights[1], 1 / (1 + std::exp(-1.0)), tolerance::kStored);
  EXPECT_NEAR(row.weights[2] / std::exp(-41.0), 1, tolerance::kFew);
  EXPECT_EQ(row.m, 0);
  EXPECT_EQ(row.l, 1);
}

TEST(Normalise, LinearDividesByTheSumOfTheScores) {
  const Row row = row_of({0, 2, 6}, {.normaliser = LinearAttention{}});
  EXPECT_EQ(row.weights, (std::vector<float>{0, 0.25f, 0.75f}));
  EXPECT_EQ(row.m, 0);
  EXPECT_EQ(row.l, 8);
  EXPECT_EQ(row_of({-1, 3}, {.normaliser = LinearAttention{}}).weights, (std::vector<float>{-0.5f, 1.5f})) << "as in the formula";
  EXPECT_EQ(row_of({0, 0}, {.normaliser = LinearAttention{}}).weights, (std::vector<float>{0, 0})) << "a sum of 0";
}

TEST(Normalise, AHardChoiceTakesTheEarlierOfEqualKeysAndReadsNoOther) {
  const Row row = row_of({0, 3, 3, 1}, {.normaliser = Hard{}});
  EXPECT_EQ(row.weights, (std::vector<float>{0, 1, 0, 0}));
  EXPECT_EQ(row.m, 1);
  EXPECT_NEAR(row.l, 3 - std::log(1 + 2 * std::exp(3.0) + std::exp(1.0)), tolerance::kFew);
  AttentionRecord record = record_of({0, 3, 3, 1}, {.normaliser = Hard{}});
  EXPECT_EQ(run(record, Tensor::from<float>({kNaN, 7, kNaN, kNaN}, {1, 1, 4, 1})).data<float>()[0], 7);
  EXPECT_TRUE(std::isnan(row_of({0, kNaN, 1}, {.normaliser = Hard{}}).weights[0]));
}

TEST(Normalise, SampledHardAttentionFollowsTheSoftmax) {
  constexpr int64_t kQueries = 20000;
  const std::vector<float> scores = {0, 1, -1, 2};
  AttentionRecord record = record_of(scores, {.normaliser = Hard{.choice = Hard::Choice::kSampled, .seed = 5}}, kQueries);
  const Tensor out = run(record, values_of(4));
  std::vector<double> seen(4, 0);
  for (int64_t i = 0; i < kQueries; ++i) seen[static_cast<size_t>(record.rows.m.data<float>()[i])] += 1.0 / kQueries;
  const double sum = 1 + std::exp(1.0) + std::exp(-1.0) + std::exp(2.0);
  for (size_t j = 0; j < 4; ++j) EXPECT_NEAR(seen[j], std::exp(static_cast<double>(scores[j])) / sum, 0.012) << j;
  EXPECT_EQ(out.data<float>()[77], values_of(4).data<float>()[static_cast<int64_t>(record.rows.m.data<float>()[77])]);
}

// The mean of dK_j over many queries, each with its own draw.
std::vector<double> key_gradients(const Normaliser& normaliser, int64_t queries) {
  AttentionRecord record = record_of({0, 1, -1}, {.normaliser = normaliser}, queries);
  const Tensor v = Tensor::from<float>({3, 5, -4}, {1, 1, 3, 1});
  run(record, v);
  const Tensor d_out = Tensor::from(std::vector<float>(static_cast<size_t>(queries), 1), {1, 1, queries, 1});
  std::vector<double> out;
  for (const reference::Sum& sum : reference::gradients(record, v, d_out, /*exact=*/false).k)
    out.push_back(sum.value / static_cast<double>(queries));
  return out;
}

TEST(Normalise, HardAttentionGradientEstimatorsMatchTheSoftmaxGradient) {
  const std::vector<double> softmax = key_gradients(Softmax{}, 1);
  const std::vector<double> straight = key_gradients(Hard{.choice = Hard::Choice::kSampled, .seed = 3}, 4);
  const std::vector<double> drawn =
      key_gradients(Hard{.choice = Hard::Choice::kSampled, .gradient = Hard::Gradient::kScoreFunction, .seed = 3}, 40000);
  for (size_t j = 0; j < 3; ++j) {
    EXPECT_NEAR(straight[j], softmax[j], tolerance::kFew) << j;
    EXPECT_NEAR(drawn[j], softmax[j], 0.04) << j;
    EXPECT_GT(std::abs(softmax[j]), 0.1) << j;
  }
}

TEST(AfterNormalising, DropoutFollowsItsRateAndIsDeterministic) {
  constexpr int64_t kQueries = 3000;
  AttentionSpec spec;
  spec.after.dropout = Dropout{.rate = 0.25f, .seed = 11};
  AttentionRecord record = record_of({0, 0, 0, 0}, spec, kQueries);
  run(record, values_of(4));
  double dropped = 0;
  for (int64_t i = 0; i < kQueries; ++i) {
    const std::vector<float> weights = weights_of(record, i, /*after=*/true);
    for (const float weight : weights) {
      EXPECT_TRUE(weight == 0 || std::abs(static_cast<double>(weight) - 1.0 / 3) < tolerance::kFew) << weight;
      dropped += weight == 0;
    }
    EXPECT_EQ(weights, weights_of(record, i, /*after=*/true));
    EXPECT_EQ(weights_of(record, i), std::vector<float>(4, 0.25f));
  }
  EXPECT_NEAR(dropped / (4 * kQueries), 0.25, 0.015);
}

TEST(AfterNormalising, AMaskedHeadIsSilentAndAGaussianFavoursItsCentre) {
  AttentionSpec spec;
  spec.after.head_mask = Tensor::from<float>({0}, {1});
  AttentionRecord silent = record_of({1, 2}, spec);
  EXPECT_EQ(run(silent, values_of(2)).data<float>()[0], 0);
  EXPECT_GT(weights_of(silent, 0)[1], 0.7f);
  spec.after = {.gaussian = LocalGaussian{.centres = Tensor::from<float>({0.5f}, {1, 1, 1}), .sigma = 2}};
  AttentionRecord near = record_of({0, 0, 0, 0}, spec);
  run(near, values_of(4));
  const std::vector<float> weights = weights_of(near, 0, /*after=*/true);
  EXPECT_FLOAT_EQ(weights[0], weights[1]);
  EXPECT_NEAR(weights[3], 0.25 * std::exp(-2.5 * 2.5 / 8), tolerance::kStored);
}

}  // namespace
}  // namespace clearhead
