// Extreme values: rows that see no key, logits of ±1e4, visible and hidden NaN and infinities, sizes of zero.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <limits>
#include <numeric>
#include <string>

#include "backends/oracle.h"
#include "backends/registry.h"
#include "bounds.h"
#include "cases.h"
#include "tolerance.h"

namespace clearhead::conformance {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kLength = 120;  // two and a half query tiles

class Extremes : public testing::TestWithParam<const Backend*> {
 protected:
  const Backend& backend_ = *GetParam();
};

// A way to hide some keys from some queries: the description, and which query sees which key.
struct Hiding {
  std::string name{};
  AttentionSpec spec{};
  std::function<bool(int64_t query, int64_t key)> sees{};
};

// Keys 37 and 99 are hidden from queries whose index is not a multiple of 3, and all keys are hidden from query 50.
bool sees_by_mask(int64_t query, int64_t key) { return query != 50 && ((key != 37 && key != 99) || query % 3 == 0); }

std::vector<Hiding> hidings() {
  std::vector<Hiding> all;
  all.push_back({"causal", {.topology = causal()}, [](int64_t i, int64_t j) { return j <= i; }});
  all.push_back({"window", {.topology = window(5, 60)}, [](int64_t i, int64_t j) { return j >= i - 5 && j <= i + 60; }});
  Tensor visible = Tensor::zeros({1, 1, kLength, kLength}, DType::kBool), bias = Tensor::zeros({1, 1, kLength, kLength});
  bool* see = visible.mutable_data<bool>();
  float* add = bias.mutable_data<float>();
  for (int64_t pair = 0; pair < kLength * kLength; ++pair) {
    see[pair] = sees_by_mask(pair / kLength, pair % kLength);
    add[pair] = see[pair] ? 0.25f : -kInfinity;
  }
  Hiding mask{"mask", {}, sees_by_mask};
  mask.spec.topology.mask = Mask{visible};
  all.push_back(mask);
  all.push_back({"bias of -inf", {.terms = {AttentionBias{bias}}}, sees_by_mask});
  all.push_back({"bias of -inf under a soft-cap", {.terms = {AttentionBias{bias}, SoftCap{20}}}, sees_by_mask});
  const auto by_rule = [](auto at) {
    return at.query != 50 && ((at.key != 37 && at.key != 99) || at.query - 3 * floor(at.query / 3) == 0);
  };
  Hiding ruled{"visibility rule", {}, sees_by_mask};
  ruled.spec.topology.visible = clearhead::visible(by_rule);
  all.push_back(ruled);
  all.push_back(
      {"rule of -inf", {.terms = {rule([&](auto s, auto at) { return where(by_rule(at), s + 0.25, -kInfinity); })}}, sees_by_mask});
  Tensor ids = Tensor::zeros({1, kLength}, DType::kI32);
  int32_t* id = ids.mutable_data<int32_t>();
  for (int64_t i = 0; i < kLength; ++i) id[i] = i == 70 ? -1 : static_cast<int32_t>(i / 45);
  Hiding segments{"segments", {}, [](int64_t i, int64_t j) { return i / 45 == j / 45 && i != 70 && j != 70; }};
  segments.spec.topology.segments = Segments{ids, ids};
  all.push_back(segments);
  Random random(8);
  Additive additive{.weight = normal(random, {2, 24}, 0.2f)};
  all.push_back({"causal, additive tanh", {.score = additive, .topology = causal()}, [](int64_t i, int64_t j) { return j <= i; }});
  Relative relative{.keys = normal(random, {1, 41, 24}), .queries = normal(random, {1, 41, 24}), .values = normal(random, {1, 41, 24})};
  mask.name = "mask, relative";
  mask.spec.score = relative;
  all.push_back(mask);
  additive.activation = Additive::Activation::kLeakyRelu;
  mask.name = "mask, additive leaky ReLU";
  mask.spec.score = additive;
  all.push_back(mask);
  return all;
}

struct Inputs {
  Tensor q, k, v;
};

Inputs inputs(int64_t width = 24) {
  Random random(5);
  return {normal(random, {1, 2, kLength, width}), normal(random, {1, 1, kLength, width}), normal(random, {1, 1, kLength, width})};
}

bool all_nan(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float value) { return std::isnan(value); });
}

TEST_P(Extremes, NonFiniteKeysAndValuesReachOnlyTheRowsThatSeeThem) {
  const Inputs in = inputs();
  std::vector<Hiding> all = hidings();
  for (Hiding hiding : hidings()) {
    const std::string name = hiding.name;
    hiding.name = name + ", sigmoid";
    hiding.spec.normaliser = Sigmoid{-2};
    all.push_back(hiding);
    hiding.name = name + ", linear";
    hiding.spec.normaliser = LinearAttention{};
    all.push_back(hiding);
    hiding.name = name + ", linear, gaussian";
    hiding.spec.after.gaussian = LocalGaussian{.centres = Tensor::zeros({1, 1, kLength}), .sigma = 100};
    all.push_back(hiding);
  }
  for (const Hiding& hiding : all) {
    const Result clean = run(backend_, hiding.spec, in.q, in.k, in.v);
    for (const int64_t key : {0, 37, 70, 99, 119}) {
      for (const float poison : {kNaN, kInfinity}) {
        const Result value = run(backend_, hiding.spec, in.q, in.k, with(in.v, key, poison));
        const Result score = run(backend_, hiding.spec, in.q, with(in.k, key, kNaN), in.v);
        for (int64_t query = 0; query < kLength; ++query) {
          SCOPED_TRACE(hiding.name + ": key " + std::to_string(key) + ", query " + std::to_string(query));
          if (hiding.sees(query, key)) {
            ASSERT_FALSE(std::isfinite(row_of(value.out, 1, query)[3])) << "a visible value of " << poison;
            ASSERT_TRUE(all_nan(row_of(score.out, 1, query))) << "a visible NaN key";
          } else {
            ASSERT_TRUE(same_bits(row_of(value.out, 1, query), row_of(clean.out, 1, query))) << "a hidden value of " << poison;
            ASSERT_TRUE(same_bits(row_of(score.out, 1, query), row_of(clean.out, 1, query))) << "a hidden NaN key";
          }
        }
      }
    }
  }
}

TEST_P(Extremes, WeightsAreNaNOnlyInRowsThatSeeANaNKey) {
  const Inputs in = inputs();
  for (const Hiding& hiding : hidings()) {
    const AttentionRecord record = run(backend_, hiding.spec, in.q, with(in.k, 37, kNaN), in.v).record;
    const AttentionRecord clean = run(backend_, hiding.spec, in.q, in.k, in.v).record;
    for (const int64_t query : {30, 36, 37, 38, 48, 50, 119}) {
      const auto found = look(backend_, record, 0, 1, {query}, {0, kLength}), expected = look(backend_, clean, 0, 1, {query}, {0, kLength});
      SCOPED_TRACE(hiding.name + ": query " + std::to_string(query));
      if (!hiding.sees(query, 37)) {
        EXPECT_TRUE(same_bits(found, expected));
        continue;
      }
      for (int64_t j = 0; j < kLength; ++j) {
        ASSERT_TRUE(!hiding.sees(query, j) || std::isnan(found[static_cast<size_t>(j)])) << "key " << j;
      }
    }
  }
}

TEST_P(Extremes, NaNAndInfinitiesOfAQueryStayInItsRow) {
  const Inputs in = inputs();
  const Result clean = run(backend_, {.topology = causal()}, in.q, in.k, in.v);
  for (const float poison : {kNaN, kInfinity}) {
    const Result result = run(backend_, {.topology = causal()}, with(in.q, 61, poison), in.k, in.v);
    for (int64_t query = 0; query < kLength; ++query) {
      if (query == 61) {
        EXPECT_TRUE(all_nan(row_of(result.out, 1, query))) << poison;  // +inf times channels of both signs
      } else {
        ASSERT_TRUE(same_bits(row_of(result.out, 1, query), row_of(clean.out, 1, query))) << "query " << query;
      }
    }
  }
}

TEST_P(Extremes, AScoreOfMinusInfinityIsHiddenAndPlusInfinityMakesItsRowNaN) {
  Random random(2);
  const Tensor q = Tensor::from<float>(std::vector<float>(kLength, 1), {1, 1, kLength, 1}), v = normal(random, {1, 1, kLength, 8});
  const Tensor k = normal(random, {1, 1, kLength, 1});
  Tensor visible = Tensor::zeros({1, 1, 1, kLength}, DType::kBool);
  for (int64_t j = 0; j < kLength; ++j) visible.mutable_data<bool>()[j] = j != 60;
  AttentionSpec masked;
  masked.topology.mask = Mask{visible};
  const Result hidden = run(backend_, {}, q, with(k, 60, -kInfinity), with(v, 60, kNaN)), expected = run(backend_, masked, q, k, v);
  const Result infinite = run(backend_, {}, q, with(k, 60, kInfinity), v);
  for (int64_t query = 0; query < kLength; ++query) {
    for (size_t c = 0; c < 8; ++c)
      ASSERT_NEAR(row_of(hidden.out, 0, query)[c], row_of(expected.out, 0, query)[c], tolerance::kFew) << "query " << query;
    ASSERT_TRUE(all_nan(row_of(infinite.out, 0, query))) << "query " << query;
  }
  EXPECT_EQ(look(backend_, hidden.record, 0, 0, {7}, {60, 61}), std::vector<float>{0});
  EXPECT_EQ(look(backend_, hidden.record, 0, 0, {7}, {60, 61}, WeightsCall::Quantity::kScore2), std::vector<float>{-kInfinity});
}

// Products that overflow: queries 0, 3, … have a score of −∞ with every key, or with every key except each fifth, whose score is 0. The
// other queries are 0.
TEST_P(Extremes, ScoresThatOverflowToMinusInfinityAreHiddenEvenInWholeRows) {
  constexpr int64_t kKeys = 311, kWidth = 64, kFew = 16;
  Random random(4);
  const Tensor v = normal(random, {1, 1, kKeys, 19});
  const float* values = v.data<float>();
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const bool has_fifths : {true, false}) {
      std::vector<float> q, k;
      for (int64_t i = 0; i < kKeys * kWidth; ++i) {
        q.push_back(i / kWidth % 3 == 0 ? 0x1p80F : 0);
        k.push_back(has_fifths && i / kWidth % 5 == 0 ? 0 : -0x1p60F);
      }
      const Tensor queries = to_dtype(Tensor::from(q, {1, 1, kKeys, kWidth}), dtype);
      const Tensor keys = to_dtype(Tensor::from(k, {1, 1, kKeys, kWidth}), dtype), narrow_v = to_dtype(v, dtype);
      const auto check = [&](const Result& result, const Tensor& entropies, int64_t row, int64_t position) {
        const bool overflows = position % 3 == 0;
        const int64_t seen = overflows ? (has_fifths ? position / 5 + 1 : 0) : position + 1;
        const float nats = seen ? static_cast<float>(std::log(seen)) : 0;
        EXPECT_NEAR(entropies.data<float>()[row], nats, tolerance::kSweep * std::log2(kKeys + 1));
        EXPECT_EQ(result.record.rows.l.data<float>()[row] != 0, seen != 0);
        double mean = 0;
        for (int64_t j = 0; j <= position; ++j) {
          if (!overflows || (has_fifths && j % 5 == 0)) mean += static_cast<double>(values[j * 19 + 3]) / static_cast<double>(seen);
        }
        EXPECT_NEAR(row_of(to_f32(result.out), 0, row)[3], mean, 0.02);
      };
      for (const int64_t count : {kKeys, kFew}) {
        const bool is_paged = count == kFew;
        const Keys met = is_paged ? Keys(paged(keys, narrow_v, dtype)) : Keys(keys);
        const Result result =
            run(backend_, {.topology = causal()}, queries.slice(2, kKeys - count, kKeys), met, is_paged ? Tensor() : narrow_v, true);
        std::vector<int64_t> all(static_cast<size_t>(count));
        std::iota(all.begin(), all.end(), 0);
        const ReductionResult swept = backend_.sweep({.record = result.record, .request = {entropy}, .rows = all});
        for (int64_t row = 0; row < count && !HasFailure(); ++row) {
          SCOPED_TRACE("query " + std::to_string(kKeys - count + row) + " of " + std::to_string(count) + ", " +
                       std::string(to_string(dtype)) + (has_fifths ? ", fifths" : ""));
          check(result, result.entropy, row, kKeys - count + row);
          check(result, swept.entropy, row, kKeys - count + row);
        }
      }
    }
  }
}

TEST_P(Extremes, NaNAndInfinityOfABiasReachTheirRowsOnly) {
  const Inputs in = inputs();
  for (const float poison : {kNaN, kInfinity}) {
    Tensor bias = Tensor::zeros({1, 1, kLength, kLength});
    const Result clean = run(backend_, {.terms = {AttentionBias{bias.clone()}}}, in.q, in.k, in.v);
    bias.mutable_data<float>()[49 * kLength + 100] = poison;
    const Result result = run(backend_, {.terms = {AttentionBias{bias}}}, in.q, in.k, in.v);
    for (int64_t query = 0; query < kLength; ++query) {
      if (query == 49) {
        EXPECT_TRUE(all_nan(row_of(result.out, 1, query))) << poison;
      } else {
        ASSERT_TRUE(same_bits(row_of(result.out, 1, query), row_of(clean.out, 1, query))) << "query " << query;
      }
    }
  }
}

TEST_P(Extremes, RowsThatSeeNothingAreZerosUnderEveryNormaliser) {
  const Inputs in = inputs();
  for (Hiding hiding : hidings()) {
    for (const char* name : {"softmax", "sinks", "sparsemax", "entmax-1.5", "sigmoid", "hard", "linear"}) {
      if (name == std::string("sinks")) hiding.spec.normaliser = Softmax{Tensor::from<float>({0.5f, 3}, {2})};
      if (name == std::string("sparsemax")) hiding.spec.normaliser = Sparsemax{};
      if (name == std::string("entmax-1.5")) hiding.spec.normaliser = Entmax15{};
      if (name == std::string("sigmoid")) hiding.spec.normaliser = Sigmoid{3};
      if (name == std::string("hard")) hiding.spec.normaliser = Hard{};
      if (name == std::string("linear")) hiding.spec.normaliser = LinearAttention{};
      // With twice as many queries as keys under the causal band, the first queries are before key 0.
      const bool band = hiding.name.starts_with("causal");
      const Tensor k = band ? in.k.slice(2, 0, 60) : in.k, v = band ? in.v.slice(2, 0, 60) : in.v;
      const Result result = run(backend_, hiding.spec, in.q, k, v);
      const int64_t empty = band ? 31 : hiding.name == "segments" ? 70 : 50;
      if (hiding.name == "window") continue;
      SCOPED_TRACE(hiding.name + ", " + name);
      EXPECT_TRUE(same_bits(row_of(result.out, 1, empty), std::vector<float>(24, 0)));
      EXPECT_EQ(result.record.rows.m.data<float>()[kLength + empty], -kInfinity);
      EXPECT_EQ(result.record.rows.l.data<float>()[kLength + empty], 0);
      const auto weights = look(backend_, result.record, 0, 1, {empty}, {0, k.size(2)});
      EXPECT_TRUE(std::all_of(weights.begin(), weights.end(), [](float p) { return p == 0; }));
      const ReductionResult swept =
          backend_.sweep({.record = result.record, .request = {entropy, distance, received, offsets}, .rows = {empty}});
      EXPECT_EQ(swept.entropy.data<float>()[1], 0);
      EXPECT_EQ(swept.distance.data<float>()[1], 0);
      EXPECT_EQ(swept.received.data<float>()[k.size(2) + 3], 0);
      EXPECT_EQ(swept.offsets.data<float>()[129 + 64], 0);
    }
  }
}

TEST_P(Extremes, SparseRowsReadOnlyTheValuesInTheirSupport) {
  const Inputs in = inputs();
  const Hard drawn{.choice = Hard::Choice::kSampled, .seed = 2};
  for (const Normaliser& normaliser : {Normaliser(Sparsemax{}), Normaliser(Entmax15{}), Normaliser(Hard{}), Normaliser(drawn)}) {
    int inside = 0, outside = 0;
    for (Hiding hiding : hidings()) {
      hiding.spec.normaliser = normaliser;
      const Result clean = run(backend_, hiding.spec, in.q, in.k, in.v);
      for (const int64_t key : {0, 37, 99}) {
        const Result value = run(backend_, hiding.spec, in.q, in.k, with(in.v, key, kNaN));
        const Result score = run(backend_, hiding.spec, in.q, with(in.k, key, kNaN), in.v);
        for (int64_t query = 0; query < kLength; ++query) {
          SCOPED_TRACE(hiding.name + ": key " + std::to_string(key) + ", query " + std::to_string(query));
          if (look(backend_, clean.record, 0, 1, {query}, {key, key + 1})[0] > 0) {
            ASSERT_TRUE(all_nan(row_of(value.out, 1, query))) << "a value with a nonzero weight";
            ++inside;
          } else {
            ASSERT_TRUE(same_bits(row_of(value.out, 1, query), row_of(clean.out, 1, query))) << "a value with a zero weight";
            outside += hiding.sees(query, key);
          }
          if (hiding.sees(query, key)) {
            ASSERT_TRUE(all_nan(row_of(score.out, 1, query))) << "a visible NaN key";
          } else {
            ASSERT_TRUE(same_bits(row_of(score.out, 1, query), row_of(clean.out, 1, query))) << "a hidden NaN key";
          }
        }
      }
    }
    EXPECT_GT(inside, 3);
    EXPECT_GT(outside, 20);
  }
}

TEST_P(Extremes, SparseThresholdsAreRightForEqualLargeAndInfiniteScores) {
  constexpr int64_t kKeys = 3000;  // many tiles; the first guess of the threshold uses only some of the keys
  for (const Normaliser& normaliser : {Normaliser(Sparsemax{}), Normaliser(Entmax15{})}) {
    const AttentionSpec spec{.score = Dot{1}, .normaliser = normaliser};
    for (const float size : {0.0f, 1.0f, 100.0f}) {
      const Tensor q = Tensor::from<float>({size, size, size}, {1, 1, 3, 1}),
                   v = Tensor::from(std::vector<float>(kKeys, 2), {1, 1, kKeys, 1});
      Tensor k = Tensor::from(std::vector<float>(kKeys, size), {1, 1, kKeys, 1});
      const Result equal = run(backend_, spec, q, k, v);
      EXPECT_NEAR(row_of(equal.out, 0, 1)[0], 2, tolerance::kRowSum) << size;
      k.mutable_data<float>()[2999] = size + 1;  // larger than all the others by `size`
      const Result one = run(backend_, spec, q, k, v);
      const auto weights = look(backend_, one.record, 0, 0, {2}, {0, kKeys});
      const OracleRow row = oracle_row(spec, q, k, v, 0, 0, 2);
      const RowBounds bounds = bounds_of(spec, row, k, v, 0, 0);
      for (size_t j = 0; j < weights.size(); ++j) ASSERT_NEAR(weights[j], row.weights[j], bounds.weights[j]) << size << " key " << j;
      k.mutable_data<float>()[5] = kInfinity;
      EXPECT_TRUE(std::isnan(row_of(run(backend_, spec, q, k, v).out, 0, 0)[0])) << size;
    }
  }
}

TEST_P(Extremes, LogitsOfTenThousandAreExact) {
  constexpr int64_t kKeys = 600;  // more than two tiles, with the largest scores in the last one
  Tensor q = Tensor::zeros({1, 1, 50, 1}), k = Tensor::zeros({1, 1, kKeys, 1});
  std::fill_n(q.mutable_data<float>(), 50, 100.0f);
  std::fill_n(k.mutable_data<float>(), kKeys, -100.0f);
  k.mutable_data<float>()[597] = k.mutable_data<float>()[3] = 100;
  Tensor v = Tensor::zeros({1, 1, kKeys, 2});
  for (int64_t j = 0; j < kKeys; ++j) v.mutable_data<float>()[2 * j] = static_cast<float>(j);
  const Result result = run(backend_, {.score = Dot{1}}, q, k, v);
  EXPECT_NEAR(row_of(result.out, 0, 49)[0], 300, 1e-4);
  const auto weights = look(backend_, result.record, 0, 0, {49}, {0, kKeys});
  for (size_t j = 0; j < weights.size(); ++j) ASSERT_NEAR(weights[j], j == 3 || j == 597 ? 0.5 : 0, tolerance::kWeightF32) << "key " << j;
  EXPECT_NEAR(log_sum_exp(result.record.rows).data<float>()[49], 1e4 + std::log(2.0), 2e-3);
}

TEST_P(Extremes, LargeRandomLogitsStayInsideTheBound) {
  Random random(9);
  const Tensor q = normal(random, {1, 1, 60, 64}, 60), k = normal(random, {1, 1, 700, 64}, 60), v = normal(random, {1, 1, 700, 16});
  const Result result = run(backend_, {}, q, k, v);  // scores of a few 1e4
  for (int64_t query = 0; query < 60; query += 7) {
    const OracleRow row = oracle_row({}, q, k, v, 0, 0, query);
    ASSERT_GT(row.largest, 1e4);
    for (size_t c = 0; c < 16; ++c) {
      ASSERT_NEAR(static_cast<double>(row_of(result.out, 0, query)[c]), row.out[c], tolerance::forward(row.largest) * row.absolute[c])
          << query;
    }
  }
}

// Scores rise in steps of 70 nats, none of them at the beginning of a key tile, so what a block
// has accumulated from a tile's earlier keys must be rescaled.
TEST_P(Extremes, ScoresThatRiseInsideATileAreRescaledToTheLargest) {
  constexpr int64_t kKeys = 600, kWidth = 64;
  constexpr int64_t kBegins[] = {0, 100, 140, 300, 521};
  const auto step_of = [&](int64_t key) { return std::upper_bound(std::begin(kBegins), std::end(kBegins), key) - std::begin(kBegins) - 1; };
  Tensor q = Tensor::zeros({1, 1, kKeys, kWidth}), k = q.clone(), v = q.clone();
  for (int64_t i = 0; i < kKeys; ++i) {
    q.mutable_data<float>()[i * kWidth] = 8;  // 1 after the scale
    k.mutable_data<float>()[i * kWidth] = 70 * static_cast<float>(step_of(i));
    v.mutable_data<float>()[i * kWidth] = 1 + static_cast<float>(step_of(i));
  }
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const bool is_causal : {false, true}) {
      AttentionSpec spec;
      if (is_causal) spec.topology = causal();
      const Result result = run(backend_, spec, to_dtype(q, dtype), to_dtype(k, dtype), to_dtype(v, dtype));
      for (int64_t row = 0; row < kKeys; ++row) {
        SCOPED_TRACE(std::string(to_string(dtype)) + ", row " + std::to_string(row));
        const int64_t last = is_causal ? row : kKeys - 1, step = step_of(last);
        ASSERT_NEAR(row_of(to_f32(result.out), 0, row)[0], 1 + static_cast<float>(step), tolerance::kSum);
        ASSERT_NEAR(log_sum_exp(result.record.rows).data<float>()[row],
                    70 * static_cast<double>(step) + std::log(static_cast<double>(last - kBegins[step] + 1)), 1e-4);
      }
    }
  }
}

TEST_P(Extremes, ASinkLogitOfMinusInfinityIsNoSink) {
  const Inputs in = inputs();
  const Result with_none = run(backend_, {}, in.q, in.k, in.v);
  const Result with_absent = run(backend_, {.normaliser = Softmax{Tensor::from<float>({-kInfinity, -kInfinity}, {2})}}, in.q, in.k, in.v);
  for (int64_t i = 0; i < with_none.out.numel(); ++i)
    ASSERT_NEAR(with_absent.out.data<float>()[i], with_none.out.data<float>()[i], tolerance::kFew) << i;
}

TEST_P(Extremes, SizesOfZeroGiveEmptyOrZeroResults) {
  const auto shaped = [&](int64_t batch, int64_t heads, int64_t key_heads, int64_t queries, int64_t keys, int64_t d_v) {
    return run(backend_, {.topology = causal()}, Tensor::zeros({batch, heads, queries, 4}), Tensor::zeros({batch, key_heads, keys, 4}),
               Tensor::zeros({batch, key_heads, keys, d_v}));
  };
  EXPECT_EQ(shaped(0, 2, 1, 3, 3, 4).out.numel(), 0);
  EXPECT_EQ(shaped(1, 0, 0, 3, 3, 4).out.numel(), 0);
  EXPECT_EQ(shaped(1, 2, 1, 0, 3, 4).out.numel(), 0);
  const Result no_values = shaped(1, 1, 1, 3, 3, 0);
  EXPECT_EQ(no_values.out.numel(), 0);
  EXPECT_NEAR(look(backend_, no_values.record, 0, 0, {2}, {0, 3})[1], 1.0 / 3, tolerance::kWeightF32);
  const Result no_keys = shaped(2, 2, 1, 3, 0, 4);
  for (int64_t i = 0; i < no_keys.out.numel(); ++i) EXPECT_EQ(no_keys.out.data<float>()[i], 0);
  EXPECT_EQ(no_keys.record.rows.m.data<float>()[5], -kInfinity);
  ReductionRequest everything{entropy, received, distance, offsets};
  everything.cells = {2, 2};
  const ReductionResult swept = backend_.sweep(
      {.record = no_keys.record, .request = everything, .rows = {0, 1, 2}, .grid = grid_over(no_keys.record, everything.cells)});
  EXPECT_EQ(swept.entropy.data<float>()[0], 0);
  EXPECT_EQ(swept.received.numel(), 0);
  EXPECT_TRUE(std::isnan(swept.pooled_max.data<float>()[0]));
  const AttentionRecord empty_cache =
      run(backend_, {}, Tensor::zeros({1, 1, 2, 4}), PagedKV{.pages = {{}}, .key_heads = 1, .d_k = 4, .d_v = 4}, Tensor()).record;
  EXPECT_EQ(empty_cache.rows.l.data<float>()[1], 0);
}

INSTANTIATE_TEST_SUITE_P(Backends, Extremes, testing::ValuesIn(runnable_backends()),
                         [](const auto& table) { return table_name(*table.param); });

}  // namespace
}  // namespace clearhead::conformance
