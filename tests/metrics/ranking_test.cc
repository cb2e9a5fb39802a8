// Rankings against pytrec_eval; two classes and NDCG with ties against scikit-learn.
#include "metrics/ranking.h"

#include <limits>

#include "metrics/goldens.h"
#include "refused.h"

namespace clearhead::metrics {
namespace {

std::vector<RankedQuery> queries_of(const Json& list) {
  std::vector<RankedQuery> out;
  for (const Json& item : list.items()) {
    out.push_back(
        {numbers<double>(field(item, "scores")), numbers<int32_t>(field(item, "relevance")), numbers<int32_t>(field(item, "missed"))});
  }
  return out;
}

std::vector<double> whole(const Ranking& found) {
  return {found.reciprocal_rank, found.average_precision, found.precision, found.recall, found.ndcg};
}

TEST(Ranking, ScoresAtEveryDepthMatchTrecEval) {
  for_each_case("ranking", [](const Json& expected) {
    const std::vector<RankedQuery> queries = queries_of(field(expected, "queries"));
    const auto depths = numbers<size_t>(field(expected, "depths"));
    for (size_t i = 0; i < queries.size(); ++i) {
      SCOPED_TRACE(i);
      expect_numbers(whole(ranking(queries[i])), field(expected, "whole").items()[i]);
      for (size_t d = 0; d < depths.size(); ++d) {
        SCOPED_TRACE(depths[d]);
        const Ranking found = ranking(queries[i], depths[d]);
        expect_numbers({found.average_precision, found.precision, found.recall, found.hit, found.ndcg},
                       field(expected, "cut").items()[i].items()[d]);
      }
    }
    expect_numbers(whole(mean_ranking(queries)), field(expected, "mean"));
  });
}

TEST(Ranking, TheReciprocalRankBeyondTheDepthIsZero) {
  const RankedQuery query{{3, 2, 1}, {0, 0, 1}, {}};
  EXPECT_EQ(ranking(query, 2).reciprocal_rank, 0);
  EXPECT_NEAR(ranking(query, 3).reciprocal_rank, 1.0 / 3, tolerance::kDouble);
}

TEST(Ranking, OfEqualScoresTheLaterDocumentStandsFirst) {
  EXPECT_EQ(ranking({{1, 1, 1}, {0, 0, 1}, {}}).reciprocal_rank, 1);
  EXPECT_NEAR(ranking({{1, 1, 1}, {1, 0, 0}, {}}).reciprocal_rank, 1.0 / 3, tolerance::kDouble);
}

TEST(Ranking, RefusesLengthsThatDifferAndScoresThatAreNotFinite) {
  expect_refused(ErrorCode::kInvalidArgument, "ranking: 1 scores, but 2 relevance values; expected one relevance value per score", [] {
    ranking({{1}, {0, 1}, {}});
  });
  expect_refused(ErrorCode::kInvalidArgument, "ranking: scores[0] is inf; expected a finite number", [] {
    ranking({{std::numeric_limits<double>::infinity()}, {0}, {}});
  });
  expect_refused(ErrorCode::kInvalidArgument, "ranking: no queries", [] { mean_ranking({}); });
}

TEST(Binary, AreasUnderTheCurvesMatchScikitLearn) {
  for_each_case("binary", [](const Json& expected) {
    const auto scores = numbers<double>(field(expected, "scores"));
    const auto positive = numbers<uint8_t>(field(expected, "positive"));
    expect_number(roc_auc(scores, positive), field(expected, "roc_auc"));
    expect_number(average_precision(scores, positive), field(expected, "average_precision"));
  });
}

TEST(Binary, EqualScoresGiveChanceLevelAndOneClassGivesNaN) {
  const std::vector<double> scores{2, 2, 2, 2};
  const std::vector<uint8_t> positive{0, 1, 0, 0}, all(4, 1), none(4, 0);
  EXPECT_EQ(roc_auc(scores, positive), 0.5);
  EXPECT_EQ(average_precision(scores, positive), 0.25);
  EXPECT_TRUE(std::isnan(roc_auc(scores, all)));
  EXPECT_TRUE(std::isnan(roc_auc(scores, none)));
  EXPECT_EQ(average_precision(scores, none), 0);
}

TEST(Binary, RefusesInvalidClassesAndUnequalLengths) {
  const std::vector<double> scores{1, 2};
  expect_refused(ErrorCode::kInvalidArgument, "ROC-AUC: positive[1] is 3; expected 0 or 1", [&] {
    roc_auc(scores, std::vector<uint8_t>{0, 3});
  });
  expect_refused(ErrorCode::kInvalidArgument, "average precision: 2 examples against 1",
                 [&] { average_precision(scores, std::vector<uint8_t>{0}); });
}

}  // namespace
}  // namespace clearhead::metrics
