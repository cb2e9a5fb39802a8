// Scores up to the largest f32. In the limit of the formula, keys tied at a row's largest score
// share the weight and all other keys have none.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "backends/registry.h"
#include "cases.h"
#include "tolerance.h"

namespace clearhead::conformance {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kKeys = 600, kWidth = 32;  // more than two tiles; widths that the bf16 matrix kernels accept
constexpr int64_t kFirst = 3, kSecond = 597;
constexpr float kSizes[] = {1e4F, 3e6F, 2e7F, 2e8F, 5e9F, 1e13F, 1e20F, 1e30F, 2e38F};

class LargeScores : public testing::TestWithParam<const Backend*> {
 protected:
  const Backend& backend_ = *GetParam();
};

struct Named {
  std::string name{};
  Normaliser normaliser{};
};
std::vector<Named> normalisers() { return {{"softmax", Softmax{}}, {"sparsemax", Sparsemax{}}, {"entmax-1.5", Entmax15{}}}; }

// Queries of (1, 0, …) and keys of (s, 0, …), so that the score is s.
Tensor queries_of(int64_t count) {
  Tensor q = Tensor::zeros({1, 1, count, kWidth});
  for (int64_t i = 0; i < count; ++i) q.mutable_data<float>()[i * kWidth] = 1;
  return q;
}
Tensor keys_of(const std::vector<float>& scores) {
  Tensor k = Tensor::zeros({1, 1, static_cast<int64_t>(scores.size()), kWidth});
  for (size_t j = 0; j < scores.size(); ++j) k.mutable_data<float>()[j * kWidth] = scores[j];
  return k;
}
Tensor values_of(const std::vector<float>& values) {
  std::vector<float> all;
  for (const float value : values) all.insert(all.end(), kWidth, value);
  return Tensor::from(all, {1, 1, static_cast<int64_t>(values.size()), kWidth});
}

// Two keys have the score `size` and values 1 and 3; the others have half of it, 0 or −size, and value 100.
std::vector<float> scores_with_a_tie(float size) {
  std::vector<float> scores;
  for (int64_t j = 0; j < kKeys; ++j) scores.push_back(j == kFirst || j == kSecond ? size : j % 3 == 0 ? size / 2 : j % 3 == 1 ? 0 : -size);
  return scores;
}
Tensor values_with_a_tie() {
  std::vector<float> values(kKeys, 100);
  values[kFirst] = 1, values[kSecond] = 3;
  return values_of(values);
}

// One list with every key, for all queries.
AttentionSpec listed(int64_t queries) {
  AttentionSpec spec{.score = Dot{1}};
  std::vector<int32_t> begins(static_cast<size_t>(queries + 1)), keys;
  for (int64_t i = 0; i < queries; ++i) {
    begins[static_cast<size_t>(i + 1)] = static_cast<int32_t>((i + 1) * kKeys);
    for (int64_t j = 0; j < kKeys; ++j) keys.push_back(static_cast<int32_t>(j));
  }
  spec.topology.block_sparse =
      BlockSparse{1, 1, Tensor::from(begins, {1, 1, queries + 1}), Tensor::from(keys, {1, 1, static_cast<int64_t>(keys.size())})};
  return spec;
}

void expect_half_at_both(const Backend& backend, const Result& result, int64_t rows) {
  const Tensor out = to_f32(result.out);
  std::vector<int64_t> all(static_cast<size_t>(rows));
  std::iota(all.begin(), all.end(), 0);
  const std::vector<float> weights = look(backend, result.record, 0, 0, all, {0, kKeys});
  const ReductionResult swept = backend.sweep({.record = result.record, .request = {entropy, received}, .rows = all});
  for (int64_t row = 0; row < rows; ++row) {
    ASSERT_NEAR(row_of(out, 0, row)[5], 2, 1e-5) << "out of row " << row;
    for (int64_t j = 0; j < kKeys; ++j) {
      ASSERT_NEAR(weights[static_cast<size_t>(row * kKeys + j)], j == kFirst || j == kSecond ? 0.5 : 0, tolerance::kWeightF32)
          << "row " << row << " key " << j;
    }
    ASSERT_NEAR(swept.entropy.data<float>()[row], std::log(2.0), 1e-5) << "row " << row;
  }
  EXPECT_NEAR(swept.received.data<float>()[kFirst], static_cast<double>(rows) / 2, 1e-4);
  EXPECT_NEAR(swept.received.data<float>()[kFirst + 1], 0, tolerance::kWeightF32);
}

TEST_P(LargeScores, OnlyTiesAtTheLargestShareARow) {
  const Tensor v = values_with_a_tie();
  for (const float size : kSizes) {
    const Tensor k = keys_of(scores_with_a_tie(size));
    for (const Named& named : normalisers()) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        for (const int64_t count : {1, 50}) {
          SCOPED_TRACE(named.name + " of " + std::to_string(size) + ", " + std::string(to_string(dtype)) + ", queries " +
                       std::to_string(count));
          const AttentionSpec spec{.score = Dot{1}, .normaliser = named.normaliser};
          const Tensor q = to_dtype(queries_of(count), dtype), keys = to_dtype(k, dtype), values = to_dtype(v, dtype);
          EXPECT_NO_FATAL_FAILURE(expect_half_at_both(backend_, run(backend_, spec, q, keys, values), count));
          EXPECT_NO_FATAL_FAILURE(expect_half_at_both(backend_, run(backend_, spec, q, paged(keys, values, dtype), Tensor()), count));
        }
      }
    }
    SCOPED_TRACE("lists, scores of " + std::to_string(size));
    EXPECT_NO_FATAL_FAILURE(expect_half_at_both(backend_, run(backend_, listed(7), queries_of(7), k, v), 7));
  }
}

// dS = g·(dP − D) with dP = V and D = 2. At the tie, g = P = 1/2, or 1, or √P.
TEST_P(LargeScores, GradientsAreThoseOfTheTie) {
  constexpr int64_t kRows = 50;
  const Tensor d_out = Tensor::from(std::vector<float>(kRows * kWidth, 1.0F / kWidth), {1, 1, kRows, kWidth});
  const auto check = [&](const AttentionSpec& spec, const Tensor& k, DType dtype, double slope) {
    const Tensor v = to_dtype(values_with_a_tie(), dtype);
    const Result forward = run(backend_, spec, to_dtype(queries_of(kRows), dtype), to_dtype(k, dtype), v);
    const AttendGradients found = run_backward(backend_, forward, v, to_dtype(d_out, dtype));
    const Tensor d_k = to_f32(found.k), d_v = to_f32(found.v);
    for (int64_t j = 0; j < kKeys; ++j) {
      const double of_key = j == kFirst ? -slope : j == kSecond ? slope : 0, of_value = j == kFirst || j == kSecond ? 0.5 / kWidth : 0;
      ASSERT_NEAR(row_of(d_k, 0, j)[0], kRows * of_key, 0.01 * kRows) << "key " << j;
      ASSERT_NEAR(row_of(d_v, 0, j)[7], kRows * of_value, 0.01) << "value " << j;
    }
  };
  for (const float size : kSizes) {
    const Tensor k = keys_of(scores_with_a_tie(size));
    for (const Named& named : normalisers()) {
      const bool is_sparse = named.name == "sparsemax", is_entmax = named.name == "entmax-1.5";
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        SCOPED_TRACE(named.name + " of " + std::to_string(size) + ", " + std::string(to_string(dtype)));
        EXPECT_NO_FATAL_FAILURE(check({.score = Dot{1}, .normaliser = named.normaliser}, k, dtype,
                                      is_sparse   ? 1
                                      : is_entmax ? std::sqrt(0.5)
                                                  : 0.5));
      }
    }
    SCOPED_TRACE("scores of " + std::to_string(size));
    EXPECT_NO_FATAL_FAILURE(check(listed(kRows), k, DType::kF32, 0.5));
  }
}

TEST_P(LargeScores, HardAttentionRecordsTheProbabilityOfATiedKey) {
  const Tensor v = values_with_a_tie();
  for (const float size : kSizes) {
    SCOPED_TRACE("scores of " + std::to_string(size));
    const Result result = run(backend_, {.score = Dot{1}, .normaliser = Hard{}}, queries_of(20), keys_of(scores_with_a_tie(size)), v);
    EXPECT_EQ(row_of(result.out, 0, 11)[0], 1);
    EXPECT_NEAR(result.record.rows.l.data<float>()[11], -std::log(2.0), tolerance::kWeightF32);
    const Tensor d_out = Tensor::from(std::vector<float>(20 * kWidth, 1.0F / kWidth), {1, 1, 20, kWidth});
    EXPECT_NEAR(row_of(run_backward(backend_, result, v, d_out).k, 0, kSecond)[0], 20 * 0.5, 0.01);
  }
}

// Neighbouring f32 scores share a row as long as their distance is smaller than the distance from the threshold to the largest score.
TEST_P(LargeScores, SparseRowsSumToOneWhateverTheSizeOfTheirScores) {
  for (const float size : {1e3F, 1e5F, 1e6F, 3e6F, 1e7F, 2e8F, 1e12F}) {
    std::vector<float> scores, ones(40, 1);
    for (int j = 0; j < 40; ++j) scores.push_back(size * (1 - static_cast<float>(j) * 0x1p-23F));
    for (const Named& named : normalisers()) {
      SCOPED_TRACE(named.name + " of " + std::to_string(size));
      const AttentionSpec spec{.score = Dot{1}, .normaliser = named.normaliser};
      const Result result = run(backend_, spec, queries_of(3), keys_of(scores), values_of(ones));
      const std::vector<float> weights = look(backend_, result.record, 0, 0, {1}, {0, 40});
      EXPECT_NEAR(std::accumulate(weights.begin(), weights.end(), 0.0), 1, tolerance::kRowSum);
      EXPECT_NEAR(row_of(result.out, 0, 1)[0], 1, tolerance::kRowSum);
    }
  }
}

TEST_P(LargeScores, LargeNegativeScoresAreOrdinaryUntilTheyCountAsHidden) {
  const Tensor v = values_of(std::vector<float>(kKeys, 4));
  for (const Named& named : normalisers()) {
    const AttentionSpec spec{.score = Dot{1}, .normaliser = named.normaliser};
    for (const float size : {-1e4F, -2e8F, -1e20F, -1e30F, -1.3e30F}) {
      for (const int64_t count : {1, 50}) {
        SCOPED_TRACE(named.name + " of " + std::to_string(size));
        const Result result = run(backend_, spec, queries_of(count), keys_of(std::vector<float>(kKeys, size)), v);
        EXPECT_NEAR(row_of(result.out, 0, count - 1)[0], 4, 1e-4);
        EXPECT_NEAR(look(backend_, result.record, 0, 0, {count - 1}, {9, 10})[0], 1.0 / kKeys, 1e-7);
      }
    }
    for (const float size : {-1.5e30F, -3e38F}) {
      SCOPED_TRACE(named.name + " of " + std::to_string(size));
      const Result result = run(backend_, spec, queries_of(50), keys_of(std::vector<float>(kKeys, size)), v);
      EXPECT_EQ(row_of(result.out, 0, 49)[0], 0);
      EXPECT_EQ(result.record.rows.m.data<float>()[49], -kInfinity);
      EXPECT_EQ(result.record.rows.l.data<float>()[49], 0);
      EXPECT_EQ(look(backend_, result.record, 0, 0, {49}, {9, 10})[0], 0);
    }
  }
}

TEST_P(LargeScores, AScoreThatIsInfiniteInBase2MakesItsRowNaN) {
  for (const Named& named : normalisers()) {
    std::vector<float> scores(kKeys, 0);
    scores[kFirst] = 3e38F;
    const Result result =
        run(backend_, {.score = Dot{1}, .normaliser = named.normaliser}, queries_of(5), keys_of(scores), values_with_a_tie());
    EXPECT_TRUE(std::isnan(row_of(result.out, 0, 2)[0])) << named.name;
    EXPECT_TRUE(std::isnan(look(backend_, result.record, 0, 0, {2}, {kFirst, kFirst + 1})[0])) << named.name;
  }
}

TEST_P(LargeScores, QueriesOf1e30AttendOnlyToTheirBestKey) {
  constexpr int64_t kQueries = 40, kFew = 30;
  Random random(12);
  Tensor q = normal(random, {1, 1, kQueries, 8}, 1e30F);
  const Tensor k = normal(random, {1, 1, kFew, 8}), v = normal(random, {1, 1, kFew, 5});
  for (const Named& named : normalisers()) {
    const Result result = run(backend_, {.normaliser = named.normaliser}, q, k, v);
    for (int64_t i = 0; i < kQueries; ++i) {
      SCOPED_TRACE(named.name + ", query " + std::to_string(i));
      double largest = -1e300;
      int64_t best = 0;
      for (int64_t j = 0; j < kFew; ++j) {
        double score = 0;
        for (size_t c = 0; c < 8; ++c) score += static_cast<double>(row_of(q, 0, i)[c]) * static_cast<double>(row_of(k, 0, j)[c]);
        if (score > largest) largest = score, best = j;
      }
      const std::vector<float> weights = look(backend_, result.record, 0, 0, {i}, {0, kFew});
      for (int64_t j = 0; j < kFew; ++j)
        ASSERT_NEAR(weights[static_cast<size_t>(j)], j == best ? 1 : 0, tolerance::kWeightF32) << "key " << j;
      ASSERT_NEAR(row_of(result.out, 0, i)[2], row_of(v, 0, best)[2], 1e-5);
    }
  }
}

TEST_P(LargeScores, ASinkLogitOfAnySizeIsInTheLogSumExp) {
  const Tensor v = values_of(std::vector<float>(kKeys, 4));
  for (const float logit : {1e4F, 2e7F, 1e8F, 1e10F, 3e15F, 1e20F, 1e30F, 2e38F, -1e10F, -2e38F}) {
    for (const float score : {0.0F, 2e10F}) {
      for (const int64_t count : {1, 50}) {
        for (const bool by_list : {false, true}) {
          SCOPED_TRACE("sink " + std::to_string(logit) + ", scores " + std::to_string(score) + ", queries " + std::to_string(count));
          AttentionSpec spec = by_list ? listed(count) : AttentionSpec{.score = Dot{1}};
          spec.normaliser = Softmax{Tensor::from<float>({logit}, {1})};
          const Result result = run(backend_, spec, queries_of(count), keys_of(std::vector<float>(kKeys, score)), v);
          const bool is_sink = logit > score;
          const double expected = is_sink ? static_cast<double>(logit) : static_cast<double>(score) + std::log(kKeys);
          EXPECT_NEAR(log_sum_exp(result.record.rows).data<float>()[count - 1], expected,
                      1e-5 + 2 * tolerance::kEpsilon * std::abs(expected));
          EXPECT_NEAR(row_of(result.out, 0, count - 1)[0], is_sink ? 0 : 4, 1e-5);
          EXPECT_NEAR(look(backend_, result.record, 0, 0, {count - 1}, {9, 10})[0], is_sink ? 0 : 1.0 / kKeys, 1e-8);
          const ReductionResult swept = backend_.sweep({.record = result.record, .request = {entropy}, .rows = {count - 1}});
          EXPECT_NEAR(swept.entropy.data<float>()[0], is_sink ? 0 : std::log(kKeys), 1e-4);
          const Tensor d_out = values_of(std::vector<float>(static_cast<size_t>(count), 1));
          const AttendGradients found = run_backward(backend_, result, v, d_out);
          EXPECT_NEAR(found.operands.back().data<float>()[0], 0, 1e-5);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, LargeScores, testing::ValuesIn(runnable_backends()),
                         [](const auto& table) { return table_name(*table.param); });

}  // namespace
}  // namespace clearhead::conformance
