// The reference backend against rows, masks and sums that are computed by hand.
#include "backends/ref/ref.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "backends/oracle.h"
#include "clearhead/error.h"
#include "tolerance.h"

namespace clearhead {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Call {
  Tensor out{};
  AttentionRecord record{};
};

Call forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec = {}) {
  validate(spec, {q.size(0), q.size(1), k.size(1), q.size(2), k.size(2), q.size(3), v.size(3)});
  Call run;
  run.out = Tensor::empty({q.size(0), q.size(1), q.size(2), v.size(3)});
  run.record.spec = spec;
  run.record.q = q;
  run.record.keys = k;
  run.record.query_length = q.size(2);
  run.record.rows = {.m = Tensor::empty({q.size(0), q.size(1), q.size(2)}), .l = Tensor::empty({q.size(0), q.size(1), q.size(2)})};
  ref_backend().forward({.spec = spec, .q = q, .keys = run.record.keys, .v = v, .out = run.out, .rows = run.record.rows});
  return run;
}

std::vector<float> weights_of(const AttentionRecord& record, int64_t head, int64_t row,
                              WeightsCall::Quantity quantity = WeightsCall::Quantity::kWeight) {
  std::vector<float> out(static_cast<size_t>(key_length(record.keys)));
  const Range keys{0, key_length(record.keys)};
  ref_backend().weights({.record = record,
                         .batch = 0,
                         .head = head,
                         .rows = &row,
                         .row_count = 1,
                         .keys = keys,
                         .quantity = quantity,
                         .out = out.data(),
                         .out_stride = keys.size()});
  return out;
}

// Draws the visible pairs, one line per query: '#' is visible, '.' is not.
std::string picture(const Topology& topology, int64_t queries, int64_t keys) {
  const Call run =
      forward(Tensor::zeros({1, 1, queries, 1}), Tensor::zeros({1, 1, keys, 1}), Tensor::zeros({1, 1, keys, 1}), {.topology = topology});
  std::string text;
  for (int64_t i = 0; i < queries; ++i) {
    int64_t seen = 0;
    const std::vector<float> weights = weights_of(run.record, 0, i);
    for (const float weight : weights) seen += weight > 0;
    for (const float weight : weights) {
      text += weight > 0 ? '#' : '.';
      EXPECT_FLOAT_EQ(weight, weight > 0 ? 1.0f / static_cast<float>(seen) : 0.0f);
    }
    text += i + 1 < queries ? "/" : "";
  }
  return text;
}

TEST(Reference, BandsShowTheKeysThatBackAheadAlignAndOffsetDefine) {
  EXPECT_EQ(picture(full(), 2, 3), "###/###");
  EXPECT_EQ(picture(causal(), 3, 5), "###../####./#####");
  EXPECT_EQ(picture(causal(std::nullopt, Align::kStart), 3, 5), "#..../##.../###..");
  EXPECT_EQ(picture(causal(1), 3, 5), ".##../..##./...##");
  EXPECT_EQ(picture(window(1, 2), 4, 4), "###./####/.###/..##");
  EXPECT_EQ(picture(window(0, 1, Align::kStart), 3, 2), "##/.#/..");
  EXPECT_EQ(picture(causal(), 4, 2), "../../#./##");
  const auto moved = [](Topology topology, int64_t offset) {
    topology.band.offset = offset;
    return topology;
  };
  EXPECT_EQ(picture(moved(causal(std::nullopt, Align::kStart), 2), 2, 6), "###.../####..") << "key ≤ query + 2";
  EXPECT_EQ(picture(moved(causal(std::nullopt, Align::kStart), -1), 3, 3), ".../#../##.");
  EXPECT_EQ(picture(moved(causal(1), -1), 3, 5), "##.../.##../..##.");
  EXPECT_EQ(picture(moved(window(1, 0), 3), 3, 4), "...#/..../....") << "there is nothing to see beyond the keys";
}

TEST(Reference, SegmentsSeeTheirOwnAndNegativeOnesNothing) {
  Topology topology;
  topology.segments = Segments{Tensor::from<int32_t>({0, 1, -1}, {1, 3}), Tensor::from<int32_t>({0, 0, 1, -1}, {1, 4})};
  EXPECT_EQ(picture(topology, 3, 4), "##../..#./....");
}

TEST(Reference, AMaskBroadcastsOverItsAxesOfOne) {
  Topology topology = causal();
  topology.mask = Mask{Tensor::from<bool>({true, false, true}, {1, 1, 1, 3})};
  EXPECT_EQ(picture(topology, 3, 3), "#../#../#.#");
}

TEST(Reference, ARowIsTheSoftmaxOfItsScaledProducts) {
  const Tensor q = Tensor::from<float>({2, 0, 0, 2}, {1, 1, 1, 4}), k = Tensor::from<float>({1, 9, 9, 0, 0, 9, 9, 2}, {1, 1, 2, 4});
  const Tensor v = Tensor::from<float>({10, 20}, {1, 1, 2, 1});
  const Call run = forward(q, k, v);  // scores 2/2 and 4/2
  const double p = 1 / (1 + std::exp(-1.0));
  EXPECT_FLOAT_EQ(weights_of(run.record, 0, 0)[1], static_cast<float>(p));
  EXPECT_FLOAT_EQ(run.out.data<float>()[0], static_cast<float>(10 * (1 - p) + 20 * p));
  EXPECT_FLOAT_EQ(log_sum_exp(run.record.rows).data<float>()[0], static_cast<float>(std::log(std::exp(1.0) + std::exp(2.0))));
  const auto scores = weights_of(run.record, 0, 0, WeightsCall::Quantity::kScore2);
  EXPECT_FLOAT_EQ(scores[1], static_cast<float>(2 / std::log(2.0)));
}

// Natural scores of one query, given as the first channel of the keys with scale 1.
std::vector<float> scores_after(std::vector<float> products, std::vector<Term> terms, Topology topology = {}) {
  const int64_t keys = static_cast<int64_t>(products.size());
  const Tensor k = Tensor::from<float>(products, {1, 1, keys, 1});
  const Call run =
      forward(Tensor::from<float>({1}, {1, 1, 1, 1}), k, k, {.score = Dot{1}, .terms = std::move(terms), .topology = topology});
  std::vector<float> scores = weights_of(run.record, 0, 0, WeightsCall::Quantity::kScore2);
  for (float& score : scores) score *= 0.69314718f;
  return scores;
}

TEST(Reference, TermsActInTheOrderWritten) {
  const Tensor bias = Tensor::from<float>({3, -3}, {1, 1, 1, 2});
  EXPECT_FLOAT_EQ(scores_after({5, 1}, {SoftCap{4}, AttentionBias{bias}})[0], static_cast<float>(4 * std::tanh(1.25) + 3));
  EXPECT_FLOAT_EQ(scores_after({5, 1}, {AttentionBias{bias}, SoftCap{4}})[0], static_cast<float>(4 * std::tanh(2.0)));
  EXPECT_FLOAT_EQ(scores_after({5, 1}, {AttentionBias{bias}, AttentionBias{bias}})[1], -5);
}

TEST(Reference, AlibiCountsFromTheQuerysPositionBothWays) {
  const Tensor slopes = Tensor::from<float>({0.5f}, {1});
  const auto at_end = scores_after({0, 0, 0}, {Alibi{slopes}});
  EXPECT_FLOAT_EQ(at_end[0], -1.0f);
  EXPECT_FLOAT_EQ(at_end[2], 0.0f);
  const auto at_start = scores_after({0, 0, 0}, {Alibi{slopes}}, window(9, 9, Align::kStart));
  EXPECT_FLOAT_EQ(at_start[2], -1.0f);
}

TEST(Reference, ARuleIsATermLikeAnyOtherInTheOrderWritten) {
  const Rule twice = rule([](auto s, auto at) { return 2 * s - (at.query - at.key); });
  EXPECT_FLOAT_EQ(scores_after({5, 1}, {SoftCap{4}, twice})[0], static_cast<float>(8 * std::tanh(1.25) - 1));
  EXPECT_FLOAT_EQ(scores_after({5, 1}, {twice, SoftCap{4}})[1], static_cast<float>(4 * std::tanh(0.5)));
  EXPECT_FLOAT_EQ(scores_after({5, 1}, {twice}, causal(std::nullopt, Align::kStart))[0], 10) << "the query is at key 0";
}

TEST(Reference, ARuleThatGivesMinusInfinityHidesThePairForGood) {
  const Rule hides = rule([](auto s, auto at) { return where(at.key == 1, -kInfinity, s); });
  EXPECT_EQ(scores_after({3, 3}, {hides, SoftCap{4}})[1], -kInfinity);
}

TEST(Reference, AVisibilityRuleHidesPairsForWhichItIsFalse) {
  Topology topology;
  topology.visible = visible([](auto at) { return at.key <= at.query && at.query - at.key < 2; });
  EXPECT_EQ(picture(topology, 3, 5), ".##../..##./...##");
  topology = causal();
  topology.visible = visible([](auto at) { return table(Tensor::from<int32_t>({1, 0, 1}, {3}))(at.key) != 0; });
  EXPECT_EQ(picture(topology, 3, 3), "#../#../#.#");
}

TEST(Reference, ABiasOfMinusInfinityHidesAlsoUnderASoftCap) {
  const Tensor bias = Tensor::from<float>({0, -kInfinity}, {1, 1, 1, 2});
  EXPECT_EQ(scores_after({0, 0}, {AttentionBias{bias}, SoftCap{4}})[1], -kInfinity);
}

TEST(Reference, ASinkLogitTakesItsShareAndHasNoValue) {
  const Tensor q = Tensor::zeros({1, 2, 1, 1}), k = Tensor::zeros({1, 1, 2, 1}), v = Tensor::from<float>({1, 3}, {1, 1, 2, 1});
  const Call run = forward(q, k, v, {.normaliser = Softmax{Tensor::from<float>({0, std::log(6.0f)}, {2})}});
  EXPECT_FLOAT_EQ(weights_of(run.record, 0, 0)[0], 1.0f / 3);
  EXPECT_FLOAT_EQ(weights_of(run.record, 1, 0)[0], 1.0f / 8);
  EXPECT_FLOAT_EQ(run.out.data<float>()[1], 0.5f);
}

TEST(Reference, NeighbouringQueryHeadsShareAKeyHead) {
  const Tensor v = Tensor::from<float>({1, 2}, {1, 2, 1, 1});
  const Call run = forward(Tensor::zeros({1, 4, 1, 1}), Tensor::zeros({1, 2, 1, 1}), v);
  const float* out = run.out.data<float>();
  EXPECT_EQ(std::vector<float>(out, out + 4), (std::vector<float>{1, 1, 2, 2}));
}

TEST(Reference, AFullyMaskedRowGivesZerosAndEmptyStatistics) {
  const Tensor v = Tensor::from<float>({1, NAN}, {1, 1, 2, 1});
  const Call run = forward(Tensor::zeros({1, 1, 4, 1}), Tensor::zeros({1, 1, 2, 1}), v,
                           {.topology = causal(), .normaliser = Softmax{Tensor::zeros({1})}});
  EXPECT_EQ(run.out.data<float>()[0], 0);
  EXPECT_EQ(run.record.rows.m.data<float>()[0], -kInfinity);
  EXPECT_EQ(run.record.rows.l.data<float>()[0], 0);
  EXPECT_EQ(weights_of(run.record, 0, 0), (std::vector<float>{0, 0}));
  EXPECT_TRUE(std::isnan(weights_of(run.record, 0, 0, WeightsCall::Quantity::kWeightOrNaN)[0]));
}

// Weights 1/4, 3/4 in row 0 (key 2 hidden), 1, 0⁺, hidden … made from logarithms as biases.
Call known_map() {
  const float third = std::log(3.0f);
  const Tensor bias = Tensor::from<float>({0, third, -kInfinity, 0, -kInfinity, 0, third, 0, third}, {1, 1, 3, 3});
  return forward(Tensor::zeros({1, 1, 3, 1}), Tensor::zeros({1, 1, 3, 1}), Tensor::zeros({1, 1, 3, 1}), {.terms = {AttentionBias{bias}}});
}  // rows: [1/4, 3/4, ·]  [1/2, ·, 1/2]  [3/7, 1/7, 3/7]

void expect_near(const Tensor& tensor, const std::vector<double>& expected) {
  ASSERT_EQ(tensor.numel(), static_cast<int64_t>(expected.size()));
  for (size_t i = 0; i < expected.size(); ++i) {
    const double found = static_cast<double>(tensor.data<float>()[i]);
    if (std::isnan(expected[i])) {
      EXPECT_TRUE(std::isnan(found)) << i;
    } else {
      EXPECT_NEAR(found, expected[i], tolerance::kFew) << i;
    }
  }
}

TEST(Reference, ASweepIsTheSumsOfTheMap) {
  const Call run = known_map();
  ReductionRequest request{entropy, received, distance, offsets};
  request.offset_reach = 1;
  request.cells = {2, 2};
  request.matches = {{.query_tags = {5, -1, 7}, .key_tags = {7, 5, 7}}};
  const ReductionResult result =
      ref_backend().sweep({.record = run.record, .request = request, .rows = {0, 1, 2}, .grid = grid_over(run.record, request.cells)});
  const double h0 = -(0.25 * std::log(0.25) + 0.75 * std::log(0.75)), h2 = -(6.0 / 7 * std::log(3.0 / 7) + 1.0 / 7 * std::log(1.0 / 7));
  expect_near(result.entropy, {h0, std::log(2.0), h2});
  expect_near(result.received, {0.25 + 0.5 + 3.0 / 7, 0.75 + 1.0 / 7, 0.5 + 3.0 / 7});
  expect_near(result.distance, {0.75, 1, 2 * 3.0 / 7 + 1.0 / 7});
  expect_near(result.offsets, {0.5 + 3.0 / 7 + 1.0 / 7, 0.25 + 3.0 / 7, 0.75 + 0.5});
  expect_near(result.matches, {0.75, 0, 3.0 / 7});
  expect_near(result.pooled_max, {0.25, 0.75, 0.5, 0.5});
  expect_near(result.pooled_mean, {0.25, 0.75, (0.5 + 3.0 / 7) / 2, (1.0 / 7 + 0.5 + 3.0 / 7) / 3});
  EXPECT_TRUE(result.exact);
}

TEST(Reference, ASweepOfSampledRowsScalesSumsOverRowsOnly) {
  const Call run = known_map();
  ReductionRequest request{entropy, received};
  request.cells = {3, 4};
  const ReductionResult result =
      ref_backend().sweep({.record = run.record, .request = request, .rows = {1}, .grid = grid_over(run.record, request.cells)});
  expect_near(result.entropy, {std::log(2.0)});
  expect_near(result.received, {1.5, 0, 1.5});
  expect_near(result.pooled_max, {NAN, NAN, NAN, NAN, NAN, 0.5, NAN, 0.5, NAN, NAN, NAN, NAN});
  EXPECT_FALSE(result.exact);
}

TEST(Reference, ASinkLogitIsOneMoreOutcomeOfTheEntropy) {
  const Call run = forward(Tensor::zeros({1, 1, 1, 1}), Tensor::zeros({1, 1, 3, 1}), Tensor::zeros({1, 1, 3, 1}),
                           {.normaliser = Softmax{Tensor::zeros({1})}});
  const ReductionResult result = ref_backend().sweep({.record = run.record, .request = {entropy}, .rows = {0}});
  expect_near(result.entropy, {std::log(4.0)});
}

TEST(Reference, ASweepOfSomeHeadsStopsWhenCancelledAndReportsItsEnd) {
  const Call run = forward(Tensor::zeros({1, 3, 2, 1}), Tensor::zeros({1, 1, 2, 1}), Tensor::zeros({1, 1, 2, 1}));
  ReductionRequest request{entropy};
  request.heads = {1, 3};
  double last = 0;
  const ReductionResult result =
      ref_backend().sweep({.record = run.record, .request = request, .rows = {0, 1}, .progress = [&](double at) { last = at; }});
  EXPECT_EQ(result.entropy.shape(), (Shape{1, 2, 2}));
  EXPECT_EQ(last, 1);
  const std::atomic<bool> cancel = true;
  try {
    ref_backend().sweep({.record = run.record, .request = request, .rows = {0, 1}, .cancel = &cancel});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  }
}

TEST(Oracle, AgreesWithAHandComputedRowAndItsMagnitudes) {
  const Tensor q = Tensor::from<float>({-2, 1}, {1, 1, 1, 2}), k = Tensor::from<float>({1, 1, 0, 1}, {1, 1, 2, 2}),
               v = Tensor::from<float>({-4, 2}, {1, 1, 2, 1});
  const OracleRow row =
      oracle_row({.score = Dot{0.5f}, .terms = {AttentionBias{Tensor::from<float>({0, -1}, {1, 1, 1, 2})}}}, q, k, v, 0, 0, 0);
  EXPECT_EQ(row.scores, (std::vector<double>{-0.5, -0.5}));
  EXPECT_EQ(row.largest, 1.5);
  EXPECT_EQ(row.out[0], -1);
  EXPECT_EQ(row.absolute[0], 3);
  EXPECT_EQ(row.row_sum, 1);
  EXPECT_DOUBLE_EQ(row.m * std::log(2.0) + std::log(row.l), -0.5 + std::log(2.0));
}

}  // namespace
}  // namespace clearhead
