// Operands of 16 bits beyond the covering: one chain of operations for scores in every driver and look, hidden NaN, and what rounding P costs.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "backends/registry.h"
#include "base/parallel.h"
#include "cases.h"
#include "tolerance.h"

namespace clearhead::conformance {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kLength = 311;

class Narrow : public testing::TestWithParam<const Backend*> {
 protected:
  const Backend& backend_ = *GetParam();
};

struct Inputs {
  Tensor q, k, v;
};

Inputs inputs(DType dtype, int64_t width) {
  Random random(static_cast<uint32_t>(width));
  return {to_dtype(normal(random, {1, 4, kLength, width}, 2), dtype), to_dtype(normal(random, {1, 2, kLength, width}), dtype),
          to_dtype(normal(random, {1, 2, kLength, 19}), dtype)};
}

TEST_P(Narrow, ScoresOfADecodeStepAndInAnyStridesEqualThePrefillRowBitForBit) {
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    for (const int64_t width : {64, 33, 80}) {  // 33: no whole pairs
      const Inputs in = inputs(dtype, width);
      const AttentionSpec spec{.topology = causal()};
      const AttentionRecord prefill = run(backend_, spec, in.q, in.k, in.v).record;
      const auto apart = [](const Tensor& t) { return t.permute({0, 1, 3, 2}).clone().permute({0, 1, 3, 2}); };
      const AttentionRecord strided = run(backend_, spec, apart(in.q), apart(in.k), apart(in.v)).record;
      for (const int64_t step : {0, 1, 47, 255, 256, 310}) {
        const AttentionRecord decode =
            run(backend_, spec, in.q.slice(2, step, step + 1), in.k.slice(2, 0, step + 1), in.v.slice(2, 0, step + 1)).record;
        const auto scores = [&](const AttentionRecord& record, int64_t row) {
          return look(backend_, record, 0, 3, {row}, {0, step + 1}, WeightsCall::Quantity::kScore2);
        };
        const auto expected = scores(prefill, step);
        EXPECT_TRUE(same_bits(scores(decode, 0), expected)) << to_string(dtype) << " width " << width << " step " << step;
        EXPECT_TRUE(same_bits(scores(strided, step), expected)) << to_string(dtype) << " width " << width << " row " << step;
      }
    }
  }
}

// Blocks that round their own rows write where they are told.
TEST_P(Narrow, OutInAnyStridesHasTheSameBits) {
  const Inputs in = inputs(DType::kBF16, 64);
  const Keys keys(in.k);
  const Tensor expected = run(backend_, {}, in.q, in.k, in.v).out;
  for (const std::vector<int>& order : {std::vector<int>{0, 2, 1, 3}, {0, 1, 3, 2}}) {  // each is its own inverse
    Tensor out = Tensor::zeros(expected.permute(order).shape(), DType::kBF16).permute(order);
    RowStats rows{.m = Tensor::zeros({1, 4, kLength}), .l = Tensor::zeros({1, 4, kLength})};
    backend_.forward({.spec = {}, .q = in.q, .keys = keys, .v = in.v, .out = out, .rows = rows});
    EXPECT_TRUE(same_bits(out.contiguous(), expected));
  }
}

// As bits_test.cc: of a row that sees one key, m + log₂ℓ is that key's score as the forward itself computed it.
TEST_P(Narrow, TheForwardsOwnScoresAreTheOnesThatLooksShow) {
  for (const int64_t queries : {kLength, int64_t{5}}) {
    Inputs in = inputs(DType::kBF16, 64);
    Random random(5);
    in.q = to_dtype(normal(random, {1, 4, queries, 64}, 60), DType::kBF16);
    Tensor visible = Tensor::zeros({1, 1, queries, kLength}, DType::kBool);
    for (int64_t row = 0; row < queries; ++row) visible.mutable_data<bool>()[row * kLength + row * 7 % kLength] = true;
    AttentionSpec one;
    one.topology.mask = Mask{visible};
    const AttentionRecord all = run(backend_, {}, in.q, in.k, in.v).record, record = run(backend_, one, in.q, in.k, in.v).record;
    const double allowed = backend_.isa == InstructionSet::kReference ? 0.51 : 0.33;
    int compared = 0;
    for (int64_t row = 0; row < queries; ++row) {
      const int64_t key = row * 7 % kLength;
      const float score = look(backend_, all, 0, 2, {row}, {key, key + 1}, WeightsCall::Quantity::kScore2)[0];
      if (std::abs(score) < 64) continue;
      const double m = static_cast<double>(record.rows.m.data<float>()[2 * queries + row]),
                   l = static_cast<double>(record.rows.l.data<float>()[2 * queries + row]);
      const double ulp = std::ldexp(1.0, std::ilogb(score) - 23);
      ASSERT_LT(std::abs(m - static_cast<double>(score) + std::log2(l)) / ulp, allowed) << "row " << row << " of " << queries;
      ++compared;
    }
    EXPECT_GT(compared, queries / 4);
  }
}

TEST_P(Narrow, WhatAKeyOrValueHoldsReachesOnlyTheRowsThatSeeIt) {
  Tensor ids = Tensor::zeros({1, kLength}, DType::kI32);
  for (int64_t i = 0; i < kLength; ++i) ids.mutable_data<int32_t>()[i] = static_cast<int32_t>(i / 45);
  AttentionSpec segments;
  segments.topology.segments = Segments{ids, ids};
  const auto poisoned = [](const Tensor& tensor, int64_t key, float value) {
    return to_dtype(with(to_f32(tensor), key, value), tensor.dtype());
  };
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    const Inputs in = inputs(dtype, 24);
    for (const AttentionSpec& spec : {AttentionSpec{.topology = causal()}, AttentionSpec{.topology = window(20, 3)}, segments}) {
      const bool by_segment = spec.topology.segments.has_value(), ends = spec.topology.band.ahead.has_value();
      const auto sees = [&](int64_t i, int64_t j) {
        if (by_segment) return i / 45 == j / 45;
        return j <= i + *spec.topology.band.ahead && (!spec.topology.band.back || j >= i - *spec.topology.band.back);
      };
      ASSERT_TRUE(by_segment || ends);
      const Tensor clean = to_f32(run(backend_, spec, in.q, in.k, in.v).out);
      for (const int64_t key : {0, 37, 70, 256, 310}) {
        for (const float poison : {kNaN, kInfinity}) {
          const Tensor value = to_f32(run(backend_, spec, in.q, in.k, poisoned(in.v, key, poison)).out);
          const Tensor score = to_f32(run(backend_, spec, in.q, poisoned(in.k, key, kNaN), in.v).out);
          for (int64_t query = 0; query < kLength; ++query) {
            SCOPED_TRACE(std::string(to_string(dtype)) + " key " + std::to_string(key) + ", query " + std::to_string(query));
            if (sees(query, key)) {
              ASSERT_FALSE(std::isfinite(row_of(value, 1, query)[3]));
              ASSERT_TRUE(std::isnan(row_of(score, 1, query)[3]));
            } else {
              ASSERT_TRUE(same_bits(row_of(value, 1, query), row_of(clean, 1, query))) << "a hidden value of " << poison;
              ASSERT_TRUE(same_bits(row_of(score, 1, query), row_of(clean, 1, query))) << "a hidden key of NaN";
            }
          }
        }
      }
    }
  }
}

// Rounding moves weights by up to 2⁻⁸ each, and the sum that divides them by as much.
TEST_P(Narrow, AnOutputOfOnesIsOneAndTheWeightsThatLooksShowSumToOne) {
  Random random(3);
  constexpr int64_t kQueries = 48;
  for (const int64_t keys : {3, 5, 4096}) {
    const Tensor q = to_dtype(normal(random, {1, 1, kQueries, 64}), DType::kBF16),
                 k = to_dtype(normal(random, {1, 1, keys, 64}), DType::kBF16);
    const Tensor ones = to_dtype(Tensor::from(std::vector<float>(static_cast<size_t>(keys * 64), 1.0F), {1, 1, keys, 64}), DType::kBF16);
    const Result result = run(backend_, {}, q, k, ones);
    const Tensor out = to_f32(result.out);
    for (int64_t i = 0; i < out.numel(); ++i) ASSERT_EQ(out.data<float>()[i], 1.0F) << "as values meet them, over " << keys << " keys";
    double sum = 0;
    for (const float weight : look(backend_, result.record, 0, 0, {17}, {0, keys})) sum += static_cast<double>(weight);
    EXPECT_NEAR(sum, 1, tolerance::kRowSum) << "as looks show them, over " << keys << " keys";
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, Narrow, testing::ValuesIn(runnable_backends()),
                         [](const auto& table) { return table_name(*table.param); });

}  // namespace
}  // namespace clearhead::conformance
