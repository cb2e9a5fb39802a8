// Planted truth: an answer that depends on three of twenty items only. The metrics of the right ranking are computed by hand, and a wrong
// ranking is worse in every metric.
#include <algorithm>
#include <numeric>

#include "explain/evaluate/agreement.h"
#include "explain/evaluate/clearness.h"
#include "explain/evaluate/faithfulness.h"
#include "explain/evaluate/plausibility.h"
#include "explain/goldens.h"
#include "refused.h"

namespace clearhead::explain {
namespace {

constexpr size_t kItems = 20;
constexpr size_t kPlanted[] = {4, 11, 17};

// y = 0.1 + 0.3 · (number of planted items that are present): 1 with all of them.
std::vector<double> planted_answers(const std::vector<Removal>& removed) {
  std::vector<double> y;
  for (const Removal& set : removed) {
    double sum = 0.1;
    for (const size_t i : kPlanted) sum += set[i] ? 0 : 0.3;
    y.push_back(sum);
  }
  return y;
}

std::vector<double> right_ranking() {
  std::vector<double> scores(kItems, 0);
  for (const size_t i : kPlanted) scores[i] = 0.3;
  return scores;
}

std::vector<uint8_t> marks() {
  std::vector<uint8_t> out(kItems, 0);
  for (const size_t i : kPlanted) out[i] = 1;
  return out;
}

TEST(Planted, TheRightRankingHasTheExactErasureScores) {
  const Erasure found = erasure(planted_answers, right_ranking());
  // ⌈share · 20⌉ = 1, 1, 2, 4, 10 items, of which 1, 1, 2, 3, 3 are planted.
  const std::vector<double> comprehensiveness{0.3, 0.3, 0.6, 0.9, 0.9}, sufficiency{0.6, 0.6, 0.3, 0, 0};
  for (size_t at = 0; at < 5; ++at) {
    EXPECT_NEAR(found.comprehensiveness[at], comprehensiveness[at], tolerance::kDouble);
    EXPECT_NEAR(found.sufficiency[at], sufficiency[at], tolerance::kDouble);
  }
  EXPECT_NEAR(found.comprehensiveness_aopc, 0.6, tolerance::kDouble);
  EXPECT_NEAR(found.sufficiency_aopc, 0.3, tolerance::kDouble);
}

TEST(Planted, DeletionAndInsertionAreasAreExact) {
  const Curves found = curves(planted_answers, right_ranking());
  // Deletion: 1, 0.7, 0.4, 0.1, … 0.1 at 0, 1/20, 2/20, …: trapezoids of 0.85, 0.55, 0.25 and seventeen of 0.1.
  EXPECT_NEAR(found.deletion_area, (0.85 + 0.55 + 0.25 + 17 * 0.1) / 20, tolerance::kDouble);
  EXPECT_NEAR(found.insertion_area, (17 * 1.0 + 0.85 + 0.55 + 0.25) / 20, tolerance::kDouble);
  EXPECT_EQ(found.removed.front(), 0);
  EXPECT_EQ(found.removed.back(), 1);
}

TEST(Planted, ThePerfectRankingScoresOneAndARandomOneThePrevalence) {
  EXPECT_EQ(plausibility(right_ranking(), marks()).auprc, 1);
  EXPECT_EQ(plausibility(right_ranking(), marks()).token_f1, 1);
  double auprc = 0, f1 = 0, aopc = 0;
  const size_t draws = 1000, items = 400, marks_of_items = 50;
  std::vector<uint8_t> marked(items, 0);
  for (size_t i = 0; i < items; i += items / marks_of_items) marked[i] = 1;
  for (size_t draw = 0; draw < draws; ++draw) {
    const Plausibility found = plausibility(random_ranking(items, draw), marked);
    auprc += found.auprc / draws;
    f1 += found.token_f1 / draws;
    aopc += erasure(planted_answers, random_ranking(kItems, draw)).comprehensiveness_aopc / draws;
  }
  // The exact mean over all orders: 1/N Σ_k (1 + (k − 1)(R − 1)/(N − 1))/k, a little above R/N = 0.125.
  double expected = 0;
  for (size_t k = 1; k <= items; ++k) {
    const double others = static_cast<double>((k - 1) * (marks_of_items - 1)) / (items - 1);
    expected += (1 + others) / static_cast<double>(k * items);
  }
  EXPECT_NEAR(f1, 0.125, 0.005);
  EXPECT_NEAR(auprc, expected, 0.003);
  EXPECT_NEAR(aopc, 0.9 * (1 + 1 + 2 + 4 + 10) / 20.0 / 5, 0.01);
}

TEST(Planted, EveryMetricIsWorseWhenTheRankingIsWrong) {
  const std::vector<double> right = right_ranking(), wrong = reverse_ranking(right);
  const std::vector<double> one_out = leave_one_out(planted_answers, kItems);
  const Changes changes = changes_of(planted_answers, random_removals(kItems, 0, 200, 1));
  const Changes of_five = changes_of(planted_answers, random_removals(kItems, 5, 200, 1));
  const Erasure good = erasure(planted_answers, right), bad = erasure(planted_answers, wrong);
  EXPECT_GT(good.comprehensiveness_aopc, bad.comprehensiveness_aopc + 0.5);
  EXPECT_LT(good.sufficiency_aopc, bad.sufficiency_aopc - 0.5);
  EXPECT_LT(curves(planted_answers, right).deletion_area, curves(planted_answers, wrong).deletion_area - 0.5);
  EXPECT_GT(curves(planted_answers, right).insertion_area, curves(planted_answers, wrong).insertion_area + 0.5);
  EXPECT_NEAR(kendall(right, one_out), 1, tolerance::kDouble);
  EXPECT_LT(kendall(wrong, one_out), -0.4);
  EXPECT_NEAR(infidelity(right, changes).plain, 0, tolerance::kDouble);
  EXPECT_GT(infidelity(wrong, changes).plain, 1);
  EXPECT_GT(infidelity(wrong, changes).scaled, infidelity(right, changes).scaled + 0.01);
  EXPECT_NEAR(sensitivity_n(right, of_five), 1, tolerance::kDouble);
  EXPECT_LT(sensitivity_n(wrong, of_five), 0);
  EXPECT_LT(plausibility(wrong, marks()).auprc, 0.15);
  EXPECT_EQ(plausibility(wrong, marks()).token_f1, 0);
  const std::vector<Link> links{{0, 0}, {1, 1}}, others{{0, 1}, {1, 0}};
  EXPECT_EQ(alignment(links, links, {}).error_rate, 0);
  EXPECT_EQ(alignment(others, links, {}).error_rate, 1);
}

TEST(Planted, ClearnessTellsOneKeyFromAllKeys) {
  const std::vector<double> one{0, 0, 2, 0}, all{1, 1, 1, 1}, sink{3, 0, 0, 1};
  EXPECT_NEAR(clearness(one).effective_keys, 1, tolerance::kDouble);
  EXPECT_NEAR(clearness(one).gini, 0.75, tolerance::kDouble);
  EXPECT_NEAR(clearness(all).effective_keys, 4, tolerance::kDouble);
  EXPECT_NEAR(clearness(all).gini, 0, tolerance::kDouble);
  EXPECT_NEAR(clearness(sink, std::vector<uint8_t>{1, 0, 0, 0}).sinks, 0.75, tolerance::kDouble);
  EXPECT_EQ(clearness(sink).sinks, 0);
}

TEST(Planted, OnlyABetterMethodsIntervalAgainstRandomExcludesZero) {
  std::vector<double> method, random, other;
  for (uint64_t text = 0; text < 100; ++text) {
    method.push_back(erasure(planted_answers, right_ranking()).comprehensiveness_aopc);
    random.push_back(erasure(planted_answers, random_ranking(kItems, text)).comprehensiveness_aopc);
    other.push_back(erasure(planted_answers, random_ranking(kItems, 1000 + text)).comprehensiveness_aopc);
  }
  EXPECT_GT(against(method, random).difference.low, 0.3);
  const metrics::Interval none = against(other, random).difference;
  EXPECT_LT(none.low, 0);
  EXPECT_GT(none.high, 0);
}

TEST(Planted, ARandomSetDependsOnItsNumberOnly) {
  const auto few = random_removals(kItems, 0, 3, 9), many = random_removals(kItems, 0, 50, 9);
  EXPECT_TRUE(std::equal(few.begin(), few.end(), many.begin()));
  for (const Removal& set : random_removals(kItems, 6, 20, 9)) EXPECT_EQ(std::count(set.begin(), set.end(), 1), 6);
}

TEST(Planted, EachMetricCallsTheModelOnce) {
  int calls = 0;
  size_t sets = 0;
  const Answers counted = [&](const std::vector<Removal>& removed) {
    ++calls;
    sets += removed.size();
    return planted_answers(removed);
  };
  erasure(counted, right_ranking());
  EXPECT_EQ(sets, 11U);
  curves(counted, right_ranking(), 10);
  EXPECT_EQ(sets, 11U + 20);
  EXPECT_EQ(calls, 2);
}

TEST(Planted, InvalidInputsAreRefusedWithAReason) {
  const std::vector<double> scores{0.1, 0.2}, bad{0.1, std::nan("")}, longer{1, 2, 3};
  const std::vector<uint8_t> none{0, 0};
  const Answers silent = [](const std::vector<Removal>&) { return std::vector<double>{1}; };
  expect_refused(ErrorCode::kInvalidArgument, "scores", [&] { ranked(bad); });
  expect_refused(ErrorCode::kInvalidArgument, "1 answers to 11 removals; expected one answer for each removal",
                 [&] { erasure(silent, scores); });
  expect_refused(ErrorCode::kInvalidArgument, "a share of 0; expected a number above 0 and at most 1",
                 [&] { erasure(silent, scores, std::vector<double>{0}); });
  expect_refused(ErrorCode::kInvalidArgument, "none of the 2 items is marked", [&] { plausibility(scores, none); });
  expect_refused(ErrorCode::kInvalidArgument, "neither predicted nor sure links", [&] { alignment({}, {}, {}); });
  expect_refused(ErrorCode::kInvalidArgument, "sets of 3 out of 2 items", [&] { random_removals(2, 3, 1, 1); });
  expect_refused(ErrorCode::kInvalidArgument, "sets of 1 and of 2 items; expected sets of equal size", [&] {
    sensitivity_n(scores, {{{1, 0}, {1, 1}}, {0.1, 0.2}});
  });
  expect_refused(ErrorCode::kInvalidArgument, "2 items against 3", [&] { infidelity(longer, {{{1, 0}}, {0.1}}); });
  expect_refused(ErrorCode::kInvalidArgument, "a weight of -1; expected none below 0", [&] { clearness(std::vector<double>{1, -1}); });
  expect_refused(ErrorCode::kInvalidArgument, "all 2 weights are zero", [&] { clearness(std::vector<double>{0, 0}); });
}

}  // namespace
}  // namespace clearhead::explain
