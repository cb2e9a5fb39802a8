// The statistics of evidence tables, on numbers that were computed by hand; and the page.
#include <algorithm>
#include <cmath>

#include "explain/evaluate/datamodeling.h"
#include "explain/evidence.h"
#include "refused.h"

namespace clearhead::explain {
namespace {

TEST(DocumentSets, AreNeitherEmptyNorCompleteAndDependOnTheSeed) {
  const auto sets = random_document_sets(2, 200, 7);
  for (const DocumentSet& set : sets) EXPECT_EQ(std::count(set.begin(), set.end(), 1), 1);
  const auto first = std::count_if(sets.begin(), sets.end(), [](const DocumentSet& set) { return set[0] == 1; });
  EXPECT_GT(first, 70);
  EXPECT_LT(first, 130);
  EXPECT_EQ(sets, random_document_sets(2, 200, 7));
  EXPECT_NE(sets, random_document_sets(2, 200, 8));
  EXPECT_EQ(random_document_sets(5, 9, 1)[3], random_document_sets(5, 4, 1)[3]);
}

TEST(DocumentSets, OfOneDocumentAreRefused) {
  expect_refused(ErrorCode::kInvalidArgument, "expected two or more", [&] { return random_document_sets(1, 1, 1); });
}

TEST(Bm25, EqualsTheFormula) {
  const std::vector<double> found = bm25("The Cat, the dog!", {"the cat", "The CAT cat saw a bird", "no match at all"});
  // Words of documents: 2, 6, 4, mean 4. "the" and "cat" are in two of three documents; "dog" is in none.
  const double weight = std::log(1 + 1.5 / 2.5);
  const auto term = [](double count, double length) { return count * 2.5 / (count + 1.5 * (0.25 + 0.75 * length / 4)); };
  EXPECT_NEAR(found[0], weight * 2 * term(1, 2), 1e-12);
  EXPECT_NEAR(found[1], weight * (term(1, 6) + term(2, 6)), 1e-12);
  EXPECT_EQ(found[2], 0);
}

TEST(Bm25, TakesEachHanCharacterForAWord) {
  const std::vector<double> found = bm25("猫睡了", {"一只猫", "一条狗"});
  EXPECT_GT(found[0], 0);
  EXPECT_EQ(found[1], 0);
}

TEST(DatamodelingScore, IsTheMeanRankCorrelationWithTiesAveraged) {
  const std::vector<DocumentSet> sets = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {1, 1, 0}};
  // Predicted: 3, 1, 1, 4 with ranks 3, 1.5, 1.5, 4. Measured: 1, 2, 3, 4. Correlation: 1.5/√(4.5 · 5).
  const metrics::Interval one = datamodeling_score({{{3, 1, 1}}}, {{sets, {{1, 2, 3, 4}}}}, 1);
  EXPECT_NEAR(one.mean, 1.5 / std::sqrt(4.5 * 5), 1e-12);
  EXPECT_LE(one.low, one.mean);
  EXPECT_GE(one.high, one.mean);
  // A sentence whose predictions are all equal counts as 0.
  EXPECT_NEAR(datamodeling_score({{{3, 1, 1}, {0, 0, 0}}}, {{sets, {{1, 2, 3, 4}, {1, 2, 3, 4}}}}, 1).mean, one.mean / 2, 1e-12);
}

TEST(DatamodelingScore, OfPerfectPredictionsIsOneInEveryResample) {
  const auto sets = random_document_sets(6, 64, 3);
  const std::vector<double> shares = {0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625};  // every set has a different sum
  std::vector<double> drops;
  for (const DocumentSet& set : sets) {
    drops.push_back(0);
    for (size_t at = 0; at < set.size(); ++at) drops.back() += set[at] ? 10 * shares[at] : 0;
  }
  const metrics::Interval found = datamodeling_score({{shares}}, {{sets, {drops}}}, 1);
  EXPECT_NEAR(found.mean, 1, 1e-12);
  EXPECT_NEAR(found.low, 1, 1e-12);
  EXPECT_NEAR(found.high, 1, 1e-12);
}

TEST(DatamodelingScore, OfFewerThanThreeSetsIsNotDefined) {
  EXPECT_TRUE(std::isnan(datamodeling_score({{{1, 2}}}, {{{{1, 0}, {0, 1}}, {{1, 2}}}}, 1).mean));
  expect_refused(ErrorCode::kInvalidArgument, "must be equal", [&] {
    return datamodeling_score({{{1, 2}}}, {{random_document_sets(2, 4, 1), {{1, 2}}}}, 1);
  });
}

TEST(EvidencePage, EscapesTextsAndRefusesMissingFields) {
  Evidence evidence{.method = "rollout", .documents = {"a", "b<"}, .sentences = {{"</script><b>", {0, 2}, -1}}};
  evidence.shares = evidence.drops = {{0.25, std::nan("")}};
  evidence.elsewhere = {0.5};
  evidence.expected = {0.5, 0.5};
  const std::string page = evidence_page("<title>", evidence_json(evidence), {"first & last", "second"});
  EXPECT_EQ(page.find("</script><b>"), std::string::npos);
  EXPECT_NE(page.find("first &amp; last"), std::string::npos);
  EXPECT_NE(page.find("b&lt;"), std::string::npos);
  EXPECT_NE(page.find("<td>25.0 %<br><small>0.25</small></td><td>–"), std::string::npos);
  expect_refused(ErrorCode::kInvalidArgument, "1 texts for 2 documents",
                 [&] { return evidence_page("x", evidence_json(evidence), {"one"}); });
  expect_refused(ErrorCode::kFormat, "\"documents\" is missing", [&] { return evidence_page("x", Json::object({}), {}); });
}

}  // namespace
}  // namespace clearhead::explain
