// Rules from the literature against their formulas, pair by pair.
#include <gtest/gtest.h>

#include <cmath>

#include "clearhead/error.h"
#include "clearhead/rule.h"
#include "refused.h"
#include "spec/rule_bounds.h"
#include "spec/rule_math.h"
#include "tolerance.h"

namespace clearhead {
namespace {

// Compares a rule with a formula over every pair of 40 × 40 positions, for two heads and two sequences.
template <class Formula>
void expect_pairs(const Rule& rule, const Formula& formula) {
  RuleReader reader(rule);
  for (int64_t batch = 0; batch < 2; ++batch) {
    for (int64_t head = 0; head < 2; ++head) {
      for (int64_t i = 0; i < 40; ++i) {
        for (int64_t j = 0; j < 40; ++j) {
          const double found = reader.value({0.75, batch, head, i, j}), expected = static_cast<double>(formula(batch, head, i, j));
          ASSERT_NEAR(found, expected, tolerance::kFew) << "batch " << batch << " head " << head << " query " << i << " key " << j;
        }
      }
    }
  }
}

TEST(RuleLibrary, T5BucketsMatchTransformers) {
  // From transformers' T5Attention._relative_position_bucket, 32 buckets up to 128, for key − query.
  struct Known {
    int64_t after;
    int bidirectional, causal;
  };
  constexpr Known kKnown[] = {{-200, 15, 31}, {-128, 15, 31}, {-127, 15, 31}, {-91, 15, 29}, {-64, 14, 26}, {-40, 12, 23}, {-20, 10, 17},
                              {-16, 10, 16},  {-15, 9, 15},   {-8, 8, 8},     {-7, 7, 7},    {-1, 1, 1},    {0, 0, 0},     {1, 17, 0},
                              {7, 23, 0},     {8, 24, 0},     {12, 25, 0},    {50, 29, 0},   {127, 31, 0},  {300, 31, 0}};
  std::vector<float> numbers;
  for (int bucket = 0; bucket < 32; ++bucket)
    numbers.insert(numbers.end(), {static_cast<float>(bucket), 100.0f + static_cast<float>(bucket)});
  const Tensor weights = Tensor::from(numbers, {32, 2});
  const Rule both = t5_bias(weights, true), causal = t5_bias(weights, false);
  for (const Known& known : kKnown) {
    EXPECT_EQ(RuleReader(both).value({0, 0, 0, 500, 500 + known.after}), known.bidirectional) << known.after;
    EXPECT_EQ(RuleReader(both).value({0, 0, 1, 500, 500 + known.after}), 100 + known.bidirectional) << known.after;
    EXPECT_EQ(RuleReader(causal).value({0, 0, 0, 500, 500 + known.after}), known.causal) << known.after;
  }
}

TEST(RuleLibrary, TemperatureDivides) {
  expect_pairs(temperature(0.5f), [](int64_t, int64_t, int64_t, int64_t) { return 1.5; });
  expect_pairs(temperature(Tensor::from<float>({2, 0.25f}, {2})), [](int64_t, int64_t head, int64_t, int64_t) { return head ? 3 : 0.375; });
}

TEST(RuleLibrary, AlibiInTwoDimensionsIsTheDistanceInTheImage) {
  expect_pairs(alibi_2d(Tensor::from<float>({0.5f, 2}, {2}), 7), [](int64_t, int64_t head, int64_t i, int64_t j) {
    return 0.75 - (head ? 2 : 0.5) * std::hypot(static_cast<double>(i / 7 - j / 7), static_cast<double>(i % 7 - j % 7));
  });
}

TEST(RuleLibrary, RelativeBiasInTwoDimensionsLooksUpTheOffsetInTheImage) {
  std::vector<float> numbers;
  for (int n = 0; n < 2 * 9 * 15; ++n) numbers.push_back(static_cast<float>(n * 7 % 31));
  const Tensor biases = Tensor::from(numbers, {2, 9, 15});
  expect_pairs(relative_2d(biases, 5, 8), [&](int64_t, int64_t head, int64_t i, int64_t j) {
    return 0.75 + static_cast<double>(numbers[static_cast<size_t>((head * 9 + i / 8 - j / 8 + 4) * 15 + i % 8 - j % 8 + 7)]);
  });
}

TEST(RuleLibrary, VisibilityPatternsMatchThePapers) {
  expect_pairs(dilated(3, 4), [](int64_t, int64_t, int64_t i, int64_t j) { return j <= i && i - j <= 12 && (i - j) % 3 == 0; });
  expect_pairs(prefix_lm(9), [](int64_t, int64_t, int64_t i, int64_t j) { return j < 9 || j <= i; });
  expect_pairs(prefix_lm(Tensor::from<int32_t>({3, 20}, {2})),
               [](int64_t batch, int64_t, int64_t i, int64_t j) { return j < (batch ? 20 : 3) || j <= i; });
  expect_pairs(strided(6), [](int64_t, int64_t, int64_t i, int64_t j) { return j <= i && (i - j <= 6 || (i - j) % 6 == 0); });
  expect_pairs(fixed(8, 2), [](int64_t, int64_t, int64_t i, int64_t j) { return j <= i && (i / 8 == j / 8 || j % 8 >= 6); });
  std::vector<int32_t> global(40, 0);
  global[0] = global[17] = 1;
  expect_pairs(longformer(3, Tensor::from(global, {40})), [&](int64_t, int64_t, int64_t i, int64_t j) {
    return std::abs(i - j) <= 3 || global[static_cast<size_t>(i)] || global[static_cast<size_t>(j)];
  });
}

TEST(RuleLibrary, BlocksAreClassifiedAsHiddenOrVisible) {
  const auto shown = [](const Rule& rule, Range positions, Range keys) { return RuleBounds(rule).shown(0, 0, positions, keys); };
  EXPECT_EQ(shown(dilated(4, 10), {480, 528}, {0, 256}), Shown::kNone);
  EXPECT_EQ(shown(prefix_lm(300), {0, 48}, {0, 256}), Shown::kAll);
  EXPECT_EQ(shown(prefix_lm(300), {0, 48}, {512, 768}), Shown::kNone);
  EXPECT_EQ(shown(strided(64), {0, 48}, {256, 512}), Shown::kNone);
  const Tensor global = Tensor::zeros({1024}, DType::kI32);
  EXPECT_EQ(shown(longformer(100, global), {480, 528}, {0, 256}), Shown::kNone);
}

TEST(RuleLibrary, InvalidShapesAndParametersAreRefused) {
  expect_refused(ErrorCode::kShape, "found f32 [32]", [&] { t5_bias(Tensor::zeros({32}), true); });
  expect_refused(ErrorCode::kInvalidArgument, "2 buckets up to distance 128", [&] { t5_bias(Tensor::zeros({2, 4}), true); });
  expect_refused(ErrorCode::kInvalidArgument, "temperature: 0; expected a positive finite number", [&] { temperature(0.0f); });
  expect_refused(ErrorCode::kShape, "found f32 [2, 9, 9]", [&] { relative_2d(Tensor::zeros({2, 9, 9}), 5, 6); });
  expect_refused(ErrorCode::kInvalidArgument, "step is 0", [&] { dilated(0, 3); });
  expect_refused(ErrorCode::kShape, "found f32 [2]", [&] { prefix_lm(Tensor::zeros({2})); });
}

}  // namespace
}  // namespace clearhead
