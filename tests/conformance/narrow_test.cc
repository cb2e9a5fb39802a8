// 16-bit operands beyond the covering: scores have the same bits in every driver and every query
// of the weights, hidden NaN, and the cost of rounding P.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "backends/cpu/dispatch.h"
#include "backends/registry.h"
#include "base/parallel.h"
#include "cases.h"
#include "compare.h"
#include "largest.h"
#include "make_case.h"
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
    for (const int64_t width : {64, 33, 80}) {  // 33: an odd width, so not whole pairs of channels
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

// Blocks that round their own rows write to the strides of the output tensor.
TEST_P(Narrow, OutInAnyStridesHasTheSameBits) {
  const Inputs in = inputs(DType::kBF16, 64);
  const Keys keys(in.k);
  const Tensor expected = run(backend_, {}, in.q, in.k, in.v).out;
  for (const std::vector<int>& order : {std::vector<int>{0, 2, 1, 3}, {0, 1, 3, 2}}) {  // each order is its own inverse
    Tensor out = Tensor::zeros(expected.permute(order).shape(), DType::kBF16).permute(order);
    RowStats rows{.m = Tensor::zeros({1, 4, kLength}), .l = Tensor::zeros({1, 4, kLength})};
    backend_.forward({.spec = {}, .q = in.q, .keys = keys, .v = in.v, .out = out, .rows = rows});
    EXPECT_TRUE(same_bits(out.contiguous(), expected));
  }
}

// As in bits_test.cc: in a row that sees only one key, m + log₂ℓ is that key's score as the forward itself computed it.
TEST_P(Narrow, RecomputedScoresEqualTheForwardsOwnScores) {
  struct Call {
    int64_t queries;
    bool is_paged = false;
  };
  std::vector<Call> calls = {{kLength}, {5}};
  if (backend_.isa == InstructionSet::kAvx512 && cpu::bf16_products() == cpu::Products::kAmx)
    calls.push_back({5, true});  // over pages, scores have the same summation order as over a tensor
  for (const auto& [queries, is_paged] : calls) {
    Inputs in = inputs(DType::kBF16, 64);
    Random random(5);
    in.q = to_dtype(normal(random, {1, 4, queries, 64}, 300), DType::kBF16);
    Tensor visible = Tensor::zeros({1, 1, queries, kLength}, DType::kBool);
    for (int64_t row = 0; row < queries; ++row) visible.mutable_data<bool>()[row * kLength + row * 7 % kLength] = true;
    AttentionSpec one;
    one.topology.mask = Mask{visible};
    const AttentionRecord all = run(backend_, {}, in.q, in.k, in.v).record;
    const Keys keys = is_paged ? Keys(paged(in.k, in.v, DType::kBF16)) : Keys(in.k);
    const AttentionRecord record = run(backend_, one, in.q, keys, is_paged ? Tensor() : in.v).record;
    const double allowed = backend_.isa == InstructionSet::kReference ? 0.51 : 0.33;
    int compared = 0;
    for (int64_t at = 0; at < 4 * queries; ++at) {
      const int64_t head = at / queries, row = at % queries, key = row * 7 % kLength;
      const float score = look(backend_, all, 0, head, {row}, {key, key + 1}, WeightsCall::Quantity::kScore2)[0];
      if (std::abs(score) < 64) continue;
      const double m = static_cast<double>(record.rows.m.data<float>()[at]), l = static_cast<double>(record.rows.l.data<float>()[at]);
      const double ulp = std::ldexp(1.0, std::ilogb(score) - 23);
      ASSERT_LT(std::abs(m - static_cast<double>(score) + std::log2(l)) / ulp, allowed)
          << "row " << row << " of " << queries << (is_paged ? " over pages" : "");
      ++compared;
    }
    EXPECT_GT(compared, 3 * queries);
  }
}

TEST_P(Narrow, NonFiniteKeysAndValuesReachOnlyTheRowsThatSeeThem) {
  Tensor ids = Tensor::zeros({1, kLength}, DType::kI32);
  for (int64_t i = 0; i < kLength; ++i) ids.mutable_data<int32_t>()[i] = static_cast<int32_t>(i / 45);
  AttentionSpec segments;
  segments.topology.segments = Segments{ids, ids};
  const auto poisoned = [](const Tensor& tensor, int64_t key, float value) {
    return to_dtype(with(to_f32(tensor), key, value), tensor.dtype());
  };
  for (const auto& [dtype, width] : {std::pair{DType::kBF16, 24}, {DType::kBF16, 48}, {DType::kBF16, 32}, {DType::kF16, 24}}) {
    const Inputs in = inputs(dtype, width);
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
            SCOPED_TRACE(std::string(to_string(dtype)) + ", d " + std::to_string(width) + ", key " + std::to_string(key) + ", query " +
                         std::to_string(query));
            if (sees(query, key)) {
              ASSERT_FALSE(std::isfinite(row_of(value, 1, query)[3]));
              ASSERT_TRUE(std::isnan(row_of(score, 1, query)[3]));
            } else {
              ASSERT_TRUE(same_bits(row_of(value, 1, query), row_of(clean, 1, query))) << "a hidden value of " << poison;
              ASSERT_TRUE(same_bits(row_of(score, 1, query), row_of(clean, 1, query))) << "a hidden NaN key";
            }
          }
        }
      }
    }
  }
}

// Two to sixteen queries over pages, covering every distinction of decoding by matrices: full and partial row sets, widths that are and are
// not multiples of 16, texts that end within a panel, and bands that begin within one.
TEST_P(Narrow, AFewQueriesOverPagesAgreeWithTheOracle) {
  const auto few = [](const std::string& lengths, const std::string& heads, const std::string& widths, const std::string& band,
                      const std::string& terms = "no terms", const std::string& masks = "no segments | no mask",
                      const std::string& normaliser = "softmax", const std::string& after = "nothing after",
                      const std::string& visible = "no visibility") {
    return terms + " | " + band + " | " + masks + " | no lists | " + visible + " | " + normaliser + " | " + after + " | scale null | " +
           heads + " | " + widths + " | " + lengths + " | pages bf16 | batch 2 | sizes 2 | bf16";
  };
  const std::vector<std::string> names = {
      few("4x2500", "heads 8/2", "d 64/64", "causal end"),
      few("16x700", "heads 8/2", "d 64/64", "full"),
      few("16x300", "heads 20/2", "d 128/80", "causal end"),
      few("2x1", "heads 2/2", "d 32/48", "full"),
      few("5x17", "heads 3/1", "d 16/24", "causal end"),
      few("7x3000", "heads 6/3", "d 80/16", "causal back 1100"),
      few("3x1030", "heads 4/4", "d 48/33", "window 200 0"),
      few("13x40", "heads 8/1", "d 96/128", "causal start"),
      few("6x900", "heads 4/2", "d 64/64", "causal end", "alibi+soft_cap"),
      few("6x513", "heads 4/2", "d 32/16", "full", "dense bhqk", "no segments | mask bhqk"),
      few("5x1100", "heads 4/1", "d 64/96", "full"),
      few("9x600", "heads 4/2", "d 64/32", "causal end", "no terms", "documents | no mask", "sinks"),
      few("9x600", "heads 4/2", "d 64/64", "causal end", "rule pair", "key padding | mask b11k", "sinks", "head mask"),
      few("16x800", "heads 4/2", "d 64/64", "causal end", "no terms", "no segments | no mask", "softmax", "nothing after",
          "visible window"),
  };
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const Case c = make_case(split(name), 7);
    const Result result = run(backend_, c);
    const bool by_pairs = backend_.isa == InstructionSet::kAvx512 && cpu::bf16_products() != cpu::Products::kF32;
    EXPECT_EQ(result.record.rows.used.defined(), by_pairs);
    Check check;
    check_forward(backend_, c, result, expected_rows(c, 200), check);
    check_weights(backend_, result.record, expected_rows(c, 200), check);
    EXPECT_FALSE(check.failed()) << check.what();
    const Result asked = run(backend_, c, /*asks=*/true);
    EXPECT_TRUE(same_bits(asked.out, result.out) && same_bits(asked.record.rows.l, result.record.rows.l)) << "when sums are requested";
    std::vector<int64_t> all(static_cast<size_t>(c.shape.queries));
    std::iota(all.begin(), all.end(), 0);
    const ReductionResult swept = backend_.sweep({.record = result.record, .request = {entropy, distance}, .rows = all});
    for (int64_t i = 0; i < asked.entropy.numel(); ++i) {
      EXPECT_NEAR(asked.entropy.data<float>()[i], swept.entropy.data<float>()[i],
                  tolerance::kSweep * std::log2(static_cast<double>(c.shape.keys + 1)));
      EXPECT_NEAR(asked.distance.data<float>()[i], swept.distance.data<float>()[i], tolerance::kSweep * static_cast<double>(c.shape.keys));
    }
    set_threads(1);
    const Result one = run(backend_, c);
    set_threads(2);
    EXPECT_TRUE(same_bits(one.out, result.out) && same_bits(one.record.rows.l, result.record.rows.l)) << "one thread";
    if (!by_pairs) continue;
    EXPECT_TRUE(same_bits(one.record.rows.used, result.record.rows.used)) << "one thread";
    const auto rounding = tolerance::kForwardBF16;
    for (int64_t i = 0; i < result.record.rows.l.numel(); ++i) {
      const float l = result.record.rows.l.data<float>()[i];
      ASSERT_NEAR(result.record.rows.used.data<float>()[i], l, rounding * static_cast<double>(l)) << "row " << i;
    }
  }
}

// Values that no query sees affect no row, and values that some queries see affect only those rows.
TEST_P(Narrow, NonFinitePagesReachOnlyTheQueriesThatSeeThem) {
  for (const int64_t width : {24, 48, 64}) {
    const Inputs in = inputs(DType::kBF16, width);
    const Tensor q = in.q.slice(2, kLength - 6, kLength);
    const AttentionSpec spec{.topology = causal(140)};
    const auto out_of = [&](const Tensor& k, const Tensor& v) {
      return to_f32(run(backend_, spec, q, paged(k, v, DType::kBF16), Tensor()).out);
    };
    const Tensor clean = out_of(in.k, in.v);
    for (const int64_t key : {0, 164, 168, 170, 308, 310}) {
      for (const float poison : {kNaN, kInfinity}) {
        const auto poisoned = [&](const Tensor& t, float value) { return to_dtype(with(to_f32(t), key, value), DType::kBF16); };
        const Tensor value = out_of(in.k, poisoned(in.v, poison)), score = out_of(poisoned(in.k, kNaN), in.v);
        for (int64_t row = 0; row < 6; ++row) {
          SCOPED_TRACE("d " + std::to_string(width) + ", key " + std::to_string(key) + ", row " + std::to_string(row));
          const int64_t position = kLength - 6 + row;
          if (position - 140 <= key && key <= position) {
            ASSERT_FALSE(std::isfinite(row_of(value, 1, row)[3]));
            ASSERT_TRUE(std::isnan(row_of(score, 1, row)[3]));
          } else {
            ASSERT_TRUE(same_bits(row_of(value, 1, row), row_of(clean, 1, row))) << "a hidden value of " << poison;
            ASSERT_TRUE(same_bits(row_of(score, 1, row), row_of(clean, 1, row))) << "a hidden NaN key";
          }
        }
      }
    }
  }
}

// Rounding moves each weight by up to 2⁻⁸, and the sum that divides them by as much.
TEST_P(Narrow, ValuesOfOneGiveOneAndRecomputedWeightsSumToOne) {
  Random random(3);
  constexpr int64_t kQueries = 48;
  for (const int64_t keys : {3, 5, 4096}) {
    const Tensor q = to_dtype(normal(random, {1, 1, kQueries, 64}), DType::kBF16),
                 k = to_dtype(normal(random, {1, 1, keys, 64}), DType::kBF16);
    const Tensor ones = to_dtype(Tensor::from(std::vector<float>(static_cast<size_t>(keys * 64), 1.0F), {1, 1, keys, 64}), DType::kBF16);
    const Result result = run(backend_, {}, q, k, ones);
    const Tensor out = to_f32(result.out);
    for (int64_t i = 0; i < out.numel(); ++i) ASSERT_EQ(out.data<float>()[i], 1.0F) << "rounded weights, over " << keys << " keys";
    double sum = 0;
    for (const float weight : look(backend_, result.record, 0, 0, {17}, {0, keys})) sum += static_cast<double>(weight);
    EXPECT_NEAR(sum, 1, tolerance::kRowSum) << "recomputed weights, over " << keys << " keys";
  }
}

// The exponentials of recorded rows of a head, from their exact weights: P·ℓ.   [row][key]
std::vector<double> exponentials(const Backend& backend, const AttentionRecord& record, int64_t head, const std::vector<int64_t>& rows) {
  const size_t keys = static_cast<size_t>(key_length(record.keys));
  const float* l = record.rows.l.data<float>() + head * record.rows.l.size(2);
  const std::vector<float> weights = look(backend, record, 0, head, rows, {0, key_length(record.keys)});
  std::vector<double> out(weights.size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<double>(weights[i]) * static_cast<double>(l[rows[i / keys]]);
  return out;
}

double to_bf16(double x) { return static_cast<double>(bf16_to_f32(f32_to_bf16(static_cast<float>(x)))); }

// Changes the record as if the call's kernel had kept P in bf16, where it did not. The part of ℓ that belongs to no key is the sink's.
void keep_used(const Backend& backend, AttentionRecord& record) {
  if (record.rows.used.defined()) return;
  record.rows.used = record.rows.l.clone();
  float* used = record.rows.used.mutable_data<float>();
  std::vector<int64_t> rows(static_cast<size_t>(kLength));
  std::iota(rows.begin(), rows.end(), 0);
  for (int64_t head = 0; head < record.q.size(1); ++head) {
    const std::vector<double> e = exponentials(backend, record, head, rows);
    for (int64_t row = 0; row < kLength; ++row, ++used) {
      double moved = 0;
      for (int64_t j = 0; j < kLength; ++j)
        moved += to_bf16(e[static_cast<size_t>(row * kLength + j)]) - e[static_cast<size_t>(row * kLength + j)];
      *used = static_cast<float>(static_cast<double>(*used) + moved);
    }
  }
}

// An exponential near the midpoint of two bf16 numbers may round to either; its last bit is 2⁻⁷ of its value.
TEST_P(Narrow, WeightsAsUsedAreRoundedExponentialsOverTheirSum) {
  const Inputs in = inputs(DType::kBF16, 64);
  AttentionRecord record = run(backend_, {.topology = causal()}, in.q, in.k, in.v).record;
  keep_used(backend_, record);
  int looked = 0, apart = 0, moved = 0;
  for (const int64_t row : {0, 1, 40, 255, 256, 310}) {
    const double used = static_cast<double>(record.rows.used.data<float>()[2 * kLength + row]);
    const std::vector<float> found =
        look(backend_, record, 0, 2, {row}, {0, kLength}, WeightsCall::Quantity::kWeight, false, LookPrecision::kAsUsed);
    const std::vector<double> e = exponentials(backend_, record, 2, {row});
    double sum = 0, slack = tolerance::kRowSum;
    for (size_t j = 0; j < found.size(); ++j) {
      const double weight = static_cast<double>(found[j]), expected = to_bf16(e[j]) / used;
      sum += weight;
      if (e[j] == 0) {
        ASSERT_EQ(weight, 0) << "row " << row << ", key " << j;
        continue;
      }
      ++looked;
      moved += std::abs(expected * used / e[j] - 1) > 1e-4;
      if (std::abs(weight - expected) <= tolerance::kWeightF32 * expected) continue;
      ++apart;
      slack += 0x1p-7 * expected;
      ASSERT_LE(std::abs(weight - expected), 0x1p-7 * expected * (1 + 1e-6)) << "row " << row << ", key " << j;
    }
    EXPECT_NEAR(sum, 1, slack) << "row " << row;
  }
  EXPECT_GT(moved, looked / 2) << "most weights must differ after rounding";
  EXPECT_LE(apart, looked / 50);
}

TEST_P(Narrow, ASweepOfWeightsAsUsedIsTheSumOverThem) {
  const Inputs in = inputs(DType::kBF16, 64);
  AttentionSpec spec{.topology = causal()};
  spec.normaliser = Softmax{Tensor::from<float>({0.5F, -1, 2, 0}, {4})};
  AttentionRecord record = run(backend_, spec, in.q, in.k, in.v).record;
  keep_used(backend_, record);
  const ReductionRequest request{entropy, received, distance};
  const std::vector<int64_t> rows = {0, 7, 200, 310};
  const ReductionResult found = backend_.sweep({.record = record, .request = request, .rows = rows, .precision = LookPrecision::kAsUsed});
  const std::vector<float> weights =
      look(backend_, record, 0, 2, rows, {0, kLength}, WeightsCall::Quantity::kWeight, false, LookPrecision::kAsUsed);
  for (size_t r = 0; r < rows.size(); ++r) {
    double surprise = 0, away = 0;
    for (int64_t j = 0; j < kLength; ++j) {
      const double weight = static_cast<double>(weights[r * kLength + static_cast<size_t>(j)]);
      surprise -= weight > 0 ? weight * std::log(weight) : 0;
      away += weight * static_cast<double>(std::abs(rows[r] - j));
    }
    const int64_t at = 2 * kLength + rows[r];
    const double m = static_cast<double>(record.rows.m.data<float>()[at]), used = static_cast<double>(record.rows.used.data<float>()[at]);
    const double share = std::exp2(2 / std::log(2.0) - m) / used;
    surprise -= share * std::log(share);
    EXPECT_NEAR(static_cast<double>(found.entropy.data<float>()[2 * rows.size() + r]), surprise, tolerance::kSweep * (surprise + 2))
        << "row " << rows[r];
    EXPECT_NEAR(static_cast<double>(found.distance.data<float>()[2 * rows.size() + r]), away, tolerance::kSweep * away)
        << "row " << rows[r];
  }
}

// Values whose sums nearly cancel, so that what remains in the output is the effect of rounding the weights.
TEST_P(Narrow, WeightsAsUsedTimesValuesReproduceTheKernelsOutput) {
  Random random(11);
  constexpr int64_t kRowsLooked = 60, kWidth = 32;
  const Tensor q = to_dtype(normal(random, {1, 2, kRowsLooked, 64}, 0.02F), DType::kBF16),
               k = to_dtype(normal(random, {1, 1, 512, 64}), DType::kBF16);
  std::vector<float> signs(512 * kWidth);
  for (float& sign : signs) sign = random() % 2 == 0 ? 1.0F : -1.0F;
  for (int64_t c = 0; c < kWidth; ++c) {  // equal numbers of both signs
    for (int64_t j = 0; j < 512; j += 2) signs[static_cast<size_t>((j + 1) * kWidth + c)] = -signs[static_cast<size_t>(j * kWidth + c)];
  }
  const Tensor v = to_dtype(Tensor::from(signs, {1, 1, 512, kWidth}), DType::kBF16);
  const Result result = run(backend_, {}, q, k, v);
  const bool keeps = keeps_weights_in_bf16(backend_, {}, q, Keys(k));
  ASSERT_EQ(result.record.rows.used.defined(), keeps);
  Largest worst_exact, worst_used;
  const Tensor out = to_f32(result.out);
  for (int64_t row = 0; row < kRowsLooked; ++row) {
    const auto weights = [&](LookPrecision precision) {
      return look(backend_, result.record, 0, 1, {row}, {0, 512}, WeightsCall::Quantity::kWeight, false, precision);
    };
    const std::vector<float> exact = weights(LookPrecision::kExact), used = weights(LookPrecision::kAsUsed);
    ASSERT_TRUE(keeps || same_bits(exact, used)) << "where P is multiplied in f32, the weights as used are the exact ones";
    for (int64_t c = 0; c < kWidth; ++c) {
      double by_exact = 0, by_used = 0;
      for (size_t j = 0; j < 512; ++j) {
        const double value = static_cast<double>(signs[j * kWidth + static_cast<size_t>(c)]);
        by_exact += static_cast<double>(exact[j]) * value;
        by_used += static_cast<double>(used[j]) * value;
      }
      const double wrote = static_cast<double>(out.data<float>()[(kRowsLooked + row) * kWidth + c]);
      worst_exact.add(by_exact - wrote);
      worst_used.add(by_used - wrote);
      ASSERT_LE(std::abs(by_used - wrote), tolerance::rounding(DType::kBF16, wrote) + tolerance::forward(1))
          << "row " << row << ", channel " << c;
    }
  }
  EXPECT_TRUE(!keeps || worst_exact.value() > 4 * worst_used.value()) << worst_exact.value() << " and " << worst_used.value();
}

INSTANTIATE_TEST_SUITE_P(Backends, Narrow, testing::ValuesIn(runnable_backends()),
                         [](const auto& table) { return table_name(*table.param); });

}  // namespace
}  // namespace clearhead::conformance
