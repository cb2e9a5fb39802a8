// Every backend and every case of the covering, compared with the double oracle within the bounds of tolerance.h. Also the guarantees about
// bits: they do not depend on the number of threads, the batch or the number of heads.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <utility>

#include "backends/registry.h"
#include "base/parallel.h"
#include "cases.h"
#include "compare.h"

namespace clearhead::conformance {
namespace {

constexpr int64_t kRowsOfACase = 96;  // oracle rows per case; all rows if there are fewer

const std::vector<Expected>& expected_of(size_t index) {
  static std::map<size_t, std::vector<Expected>> cache;
  auto [at, fresh] = cache.try_emplace(index);
  if (fresh) at->second = expected_rows(cases()[index], kRowsOfACase);
  return at->second;
}

class Conformance : public testing::TestWithParam<const Backend*> {
 protected:
  const Backend& backend_ = *GetParam();
  void TearDown() override { set_threads(2); }

  // Calls check(case, index) for every case that the backend accepts, and stops after a few failures.
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

// Expects no failure, and at least one comparison per row.
void expect_fine(const Check& check, size_t rows) {
  EXPECT_FALSE(check.failed()) << check.what();
  EXPECT_GE(check.compared(), static_cast<int64_t>(rows)) << "some rows were not compared";
}

size_t rows_of(const Case& c) { return static_cast<size_t>(std::min(kRowsOfACase, c.shape.batch * c.shape.heads * c.shape.queries)); }

TEST_P(Conformance, ForwardOutputsAndRowStatisticsAgreeWithTheOracle) {
  for_each_case([&](const Case& c, size_t index) {
    Check check;
    check_forward(backend_, c, run(backend_, c), expected_of(index), check);
    expect_fine(check, rows_of(c));
  });
}

TEST_P(Conformance, WeightsScoresAndRowSumsAgreeWithTheOracle) {
  for_each_case([&](const Case& c, size_t index) {
    Check check;
    check_weights(backend_, run(backend_, c).record, expected_of(index), check);
    expect_fine(check, rows_of(c));
  });
}

TEST_P(Conformance, WeightsAfterDropoutAndMasksEqualWeightsTimesOracleFactors) {
  int dropped = 0, compared = 0;
  for_each_case([&](const Case& c, size_t index) {
    if (!c.spec.after.dropout && !c.spec.after.head_mask && !c.spec.after.gaussian) return;
    Check check;
    const AfterCount count = check_after(backend_, run(backend_, c).record, expected_of(index), check);
    dropped += count.dropped, compared += count.compared;
    EXPECT_FALSE(check.failed()) << check.what();
  });
  EXPECT_GT(dropped, compared / 20);
  EXPECT_LT(dropped, compared * 2 / 3);
}

TEST_P(Conformance, AnySliceOfTheMapHasTheBitsOfTheWhole) {
  int compared = 0;
  for_each_case([&](const Case& c, size_t) {
    if (c.shape.queries < 2 || c.shape.keys < 3) return;
    ++compared;
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
  EXPECT_GT(compared, 100);
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
  int compared = 0;
  for_each_case([&](const Case& c, size_t) {
    if (c.shape.key_heads == 1 && c.shape.batch == 1) return;
    if (!c.v.defined()) return;  // pages contain all key heads; the tensor cases cover this
    const Hard* hard = std::get_if<Hard>(&c.spec.normaliser);
    if (c.spec.after.dropout || (hard && hard->choice == Hard::Choice::kSampled))
      return;  // random draws depend on the sequence and the head
    const Result whole = run(backend_, c);
    const int64_t batch = c.shape.batch - 1, key_head = c.shape.key_heads - 1, group = c.shape.heads / c.shape.key_heads;
    const Range heads{key_head * group, (key_head + 1) * group};
    const AttentionSpec spec = restricted(c.spec, batch, heads, {0, c.shape.queries}, c.shape.keys);
    const auto part = [&](const Tensor& t, Range of) { return t.slice(0, batch, batch + 1).slice(1, of.begin, of.end); };
    const Tensor k = part(c.k, {key_head, key_head + 1});
    Keys keys = k;
    const Result alone = run(backend_, spec, part(c.q, heads), keys, part(c.v, {key_head, key_head + 1}));
    ++compared;
    EXPECT_TRUE(same_bits(alone.out, part(whole.out, heads))) << "out";
    EXPECT_TRUE(same_bits(alone.record.rows.m, part(whole.record.rows.m, heads))) << "m";
    EXPECT_TRUE(same_bits(alone.record.rows.l, part(whole.record.rows.l, heads))) << "l";
  });
  EXPECT_GT(compared, 50);
}

INSTANTIATE_TEST_SUITE_P(Backends, Conformance, testing::ValuesIn(runnable_backends()),
                         [](const auto& table) { return table_name(*table.param); });

}  // namespace
}  // namespace clearhead::conformance
