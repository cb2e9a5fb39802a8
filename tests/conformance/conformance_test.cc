// Every backend × every case of the covering, against the double oracle with the bounds of tolerance.h; and the promises about bits:
// any thread count, any batch and any number of heads give the same ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "backends/oracle.h"
#include "backends/registry.h"
#include "base/parallel.h"
#include "bounds.h"
#include "cases.h"
#include "tolerance.h"

namespace clearhead::conformance {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kRowsOfACase = 96;  // oracle rows of one case: all where there are no more

// Which (batch, head, query) are compared, and what they must be.
struct Expected {
  int64_t batch = 0, head = 0, query = 0;
  OracleRow row{};
  RowBounds bounds{};
};

const std::vector<Expected>& expected_of(size_t index) {
  static std::map<size_t, std::vector<Expected>> cache;
  auto [at, fresh] = cache.try_emplace(index);
  if (!fresh) return at->second;
  const Case& c = cases()[index];
  const int64_t rows = c.shape.batch * c.shape.heads * c.shape.queries, count = std::min(rows, kRowsOfACase);
  at->second.resize(static_cast<size_t>(count));
  parallel_for(count, [&, &expected = at->second](int64_t n, int) {  // evenly spaced, the first and the last among them
    const int64_t row = count == 1 ? 0 : n * (rows - 1) / (count - 1);
    const int64_t query = row % c.shape.queries, head = row / c.shape.queries % c.shape.heads,
                  batch = row / c.shape.queries / c.shape.heads;
    OracleRow oracle = oracle_row(c.spec, c.q, c.keys, c.v, batch, head, query);
    RowBounds bounds = bounds_of(c.spec, oracle, c.keys, c.v, batch, head / (c.shape.heads / c.shape.key_heads));
    expected[static_cast<size_t>(n)] = {batch, head, query, std::move(oracle), std::move(bounds)};
  });
  return at->second;
}

float at(const Tensor& tensor, int64_t a, int64_t b, int64_t i) {
  return tensor.data<float>()[a * tensor.stride(0) + b * tensor.stride(1) + i * tensor.stride(2)];
}

class Conformance : public testing::TestWithParam<const Backend*> {
 protected:
  const Backend& backend_ = *GetParam();
  void TearDown() override { set_threads(2); }

  // Calls check(case, its index) for every case the backend accepts, and stops after a few that fail.
  template <class Check>
  void for_each_case(const Check& check) const {
    int failed = 0;
    for (size_t index = 0; index < cases().size() && failed < 4; ++index) {
      const Case& c = cases()[index];
      if (backend_.refusal(c.spec, c.shape)) {
        ADD_FAILURE() << "refused: " << c.name;
        ++failed;
        continue;
      }
      SCOPED_TRACE("case " + std::to_string(index) + ": " + c.name);
      const int before = failures();
      try {
        check(c, index);
      } catch (const std::exception& error) {
        ADD_FAILURE() << "threw: " << error.what();
      }
      failed += failures() > before;
    }
  }

  static int failures() {
    const auto* result = testing::UnitTest::GetInstance()->current_test_info()->result();
    int count = 0;
    for (int i = 0; i < result->total_part_count(); ++i) count += result->GetTestPartResult(i).failed();
    return count;
  }
};

// What was compared; becomes text only when it is wrong.
struct Place {
  const char* what;
  const Expected& e;
  int64_t element = -1;
  std::string text() const {
    return std::string(what) + " of batch " + std::to_string(e.batch) + " head " + std::to_string(e.head) + " query " +
           std::to_string(e.query) + (element < 0 ? "" : " element " + std::to_string(element));
  }
};

// Value, expectation and bound of the first element that breaks its bound.
struct Check {
  std::string where{};
  double found = 0, expected = 0, bound = 0;
  bool failed = false;
  void operator()(double value, double wanted, double tolerance, const Place& place) {
    if (failed || std::abs(value - wanted) <= tolerance) return;  // a NaN fails
    *this = {place.text(), value, wanted, tolerance, true};
  }
};

void expect_fine(const Check& check) {
  EXPECT_FALSE(check.failed) << check.where << ": " << check.found << ", the oracle has " << check.expected << ", off by "
                             << std::abs(check.found - check.expected) << " where " << check.bound << " is allowed";
}

TEST_P(Conformance, TheForwardAndWhatItKeepsOfARowAgreeWithTheOracle) {
  for_each_case([&](const Case& c, size_t index) {
    const Result result = run(backend_, c);
    const Tensor sums = log_sum_exp(result.record.rows), out = to_f32(result.out);
    Check check;
    for (const Expected& e : expected_of(index)) {
      for (int64_t ch = 0; ch < c.shape.d_v; ++ch) {
        const size_t at_channel = static_cast<size_t>(ch);
        const double found =
            static_cast<double>((&out.data<float>()[((e.batch * c.shape.heads + e.head) * c.shape.queries + e.query) * c.shape.d_v])[ch]);
        double rounding = tolerance::rounding(result.out.dtype(), found);
        if (keeps_weights_in_bf16(backend_, c))
          rounding += tolerance::kForwardBF16 * (e.row.absolute[at_channel] + std::abs(e.row.out[at_channel]));
        check(found, e.row.out[at_channel], e.bounds.out[at_channel] + rounding, Place{"out", e, ch});
      }
      if (!e.row.sees_any) {
        EXPECT_EQ(at(result.record.rows.m, e.batch, e.head, e.query), -kInfinity) << Place{"m", e}.text();
        EXPECT_EQ(at(result.record.rows.l, e.batch, e.head, e.query), 0) << Place{"l", e}.text();
      } else if (std::holds_alternative<Softmax>(c.spec.normaliser)) {
        const double expected = e.row.m * std::log(2.0) + std::log(e.row.l);
        check(static_cast<double>(at(sums, e.batch, e.head, e.query)), expected, tolerance::log_sum_exp(e.row.largest, expected),
              Place{"log-sum-exp", e});
      } else {
        check(static_cast<double>(at(result.record.rows.m, e.batch, e.head, e.query)), e.row.m, e.bounds.m, Place{"m", e});
        check(static_cast<double>(at(result.record.rows.l, e.batch, e.head, e.query)), e.row.l, e.bounds.l, Place{"l", e});
      }
    }
    expect_fine(check);
  });
}

void check_row(const Expected& e, const float* weights, const float* or_nan, const float* scores, Check& check) {
  double sum = 0;
  for (size_t j = 0; j < e.row.weights.size(); ++j) {
    const double p = e.row.weights[j], score = static_cast<double>(scores[j]) * std::log(2.0);
    const int64_t key = static_cast<int64_t>(j);
    sum += static_cast<double>(weights[j]);
    if (e.row.scores[j] == -std::numeric_limits<double>::infinity()) {
      const bool says_so = weights[j] == 0 && std::isnan(or_nan[j]) && scores[j] == -kInfinity;
      check(says_so ? 1 : 0, 1, 0, Place{"hidden weight, NaN and score", e, key});
      continue;
    }
    check(static_cast<double>(weights[j]), p, e.bounds.weights[j], Place{"weight", e, key});
    check(score, e.row.scores[j], e.bounds.score + 1e-37, Place{"score", e, key});
    check(static_cast<double>(or_nan[j]), static_cast<double>(weights[j]), 0, Place{"weight or NaN", e, key});
  }
  check(sum, e.row.row_sum, e.bounds.row_sum, Place{"row sum", e});
}

TEST_P(Conformance, WeightsScoresAndRowSumsAgreeWithTheOracle) {
  for_each_case([&](const Case& c, size_t index) {
    const AttentionRecord record = run(backend_, c).record;
    const Range all{0, c.shape.keys};
    const std::vector<Expected>& expected = expected_of(index);
    Check check;
    for (size_t begin = 0, end = 0; begin < expected.size(); begin = end) {  // the rows of one head at a time
      const int64_t batch = expected[begin].batch, head = expected[begin].head;
      std::vector<int64_t> rows;
      for (; end < expected.size() && expected[end].batch == batch && expected[end].head == head; ++end)
        rows.push_back(expected[end].query);
      const auto weights = look(backend_, record, batch, head, rows, all);
      const auto or_nan = look(backend_, record, batch, head, rows, all, WeightsCall::Quantity::kWeightOrNaN);
      const auto scores = look(backend_, record, batch, head, rows, all, WeightsCall::Quantity::kScore2);
      for (size_t r = 0; r < rows.size(); ++r) {
        const size_t first = r * static_cast<size_t>(c.shape.keys);
        check_row(expected[begin + r], weights.data() + first, or_nan.data() + first, scores.data() + first, check);
      }
    }
    expect_fine(check);
  });
}

TEST_P(Conformance, WeightsAfterAreThoseBeforeTimesTheOraclesFactors) {
  int dropped = 0, compared = 0;
  for_each_case([&](const Case& c, size_t index) {
    if (!c.spec.after.dropout && !c.spec.after.head_mask && !c.spec.after.gaussian) return;
    const AttentionRecord record = run(backend_, c).record;
    Check check;
    for (const Expected& e : expected_of(index)) {
      const auto before = look(backend_, record, e.batch, e.head, {e.query}, {0, c.shape.keys});
      const auto after = look(backend_, record, e.batch, e.head, {e.query}, {0, c.shape.keys}, WeightsCall::Quantity::kWeight, true);
      for (size_t j = 0; j < before.size(); ++j) {
        const double factor = e.row.after[j], expected = static_cast<double>(before[j]) * factor;
        if (e.row.scores[j] == -std::numeric_limits<double>::infinity()) continue;
        check(static_cast<double>(after[j]), expected, std::abs(expected) * tolerance::after(factor) + tolerance::kUnderflow,
              Place{"weight after", e, static_cast<int64_t>(j)});
        dropped += before[j] > 0 && after[j] == 0;
        ++compared;
      }
    }
    expect_fine(check);
  });
  EXPECT_GT(dropped, compared / 20);
  EXPECT_LT(dropped, compared * 2 / 3);
}

TEST_P(Conformance, AnyPartOfTheMapHasTheBitsOfTheWhole) {
  for_each_case([&](const Case& c, size_t) {
    if (c.shape.queries < 2 || c.shape.keys < 3) return;
    const AttentionRecord record = run(backend_, c).record;
    const int64_t batch = c.shape.batch - 1, head = c.shape.heads - 1;
    const std::vector<int64_t> rows = {0, c.shape.queries / 2, c.shape.queries - 1};
    const auto distinct = [&] {
      std::vector<int64_t> unique = rows;
      unique.erase(std::unique(unique.begin(), unique.end()), unique.end());
      return unique;
    }();
    const Range some{c.shape.keys / 3, c.shape.keys - 1};
    for (const auto& [quantity, after] :
         {std::pair(WeightsCall::Quantity::kScore2, false), std::pair(WeightsCall::Quantity::kWeight, false),
          std::pair(WeightsCall::Quantity::kWeight, true)}) {
      const auto together = look(backend_, record, batch, head, distinct, some, quantity, after);
      for (size_t r = 0; r < distinct.size(); ++r) {
        const auto whole = look(backend_, record, batch, head, {distinct[r]}, {0, c.shape.keys}, quantity, after);
        const auto first = together.begin() + static_cast<std::ptrdiff_t>(r) * some.size();
        EXPECT_TRUE(same_bits({first, first + some.size()}, {whole.begin() + some.begin, whole.begin() + some.end}))
            << "row " << distinct[r];
      }
    }
  });
}

TEST_P(Conformance, AnyNumberOfThreadsGivesTheSameBits) {
  for_each_case([&](const Case& c, size_t index) {
    set_threads(1);
    const Result one = run(backend_, c);
    set_threads(2 + static_cast<int>(index % 3));
    const Result many = run(backend_, c);
    EXPECT_TRUE(same_bits(one.out, many.out)) << "out";
    EXPECT_TRUE(same_bits(one.record.rows.m, many.record.rows.m)) << "m";
    EXPECT_TRUE(same_bits(one.record.rows.l, many.record.rows.l)) << "l";
  });
}

TEST_P(Conformance, TheBitsOfAHeadDoNotDependOnBatchOrHeads) {
  for_each_case([&](const Case& c, size_t) {
    if (c.shape.key_heads == 1 && c.shape.batch == 1) return;
    const Hard* hard = std::get_if<Hard>(&c.spec.normaliser);
    if (c.spec.after.dropout || (hard && hard->choice == Hard::Choice::kSampled))
      return;  // what is drawn follows from the sequence and the head
    const Result whole = run(backend_, c);
    const int64_t batch = c.shape.batch - 1, key_head = c.shape.key_heads - 1, group = c.shape.heads / c.shape.key_heads;
    const Range heads{key_head * group, (key_head + 1) * group};
    const AttentionSpec spec = restricted(c.spec, batch, heads, {0, c.shape.queries}, c.shape.keys);
    const auto part = [&](const Tensor& t, Range of) { return t.slice(0, batch, batch + 1).slice(1, of.begin, of.end); };
    const Tensor k = part(c.k, {key_head, key_head + 1});
    Keys keys = k;
    Tensor v = c.v.defined() ? part(c.v, {key_head, key_head + 1}) : Tensor();
    if (!c.v.defined()) return;  // pages hold all key heads: covered by the tensors
    const Result alone = run(backend_, spec, part(c.q, heads), keys, v);
    EXPECT_TRUE(same_bits(alone.out, part(whole.out, heads))) << "out";
    EXPECT_TRUE(same_bits(alone.record.rows.m, part(whole.record.rows.m, heads))) << "m";
    EXPECT_TRUE(same_bits(alone.record.rows.l, part(whole.record.rows.l, heads))) << "l";
  });
}

INSTANTIATE_TEST_SUITE_P(Backends, Conformance, testing::ValuesIn(runnable_backends()),
                         [](const auto& table) { return table_name(*table.param); });

}  // namespace
}  // namespace clearhead::conformance
