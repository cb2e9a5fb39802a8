// Every metric against the package that defines it (tools/goldens/explain.py): ERASER's formulas, Captum, Quantus, SciPy, scikit-learn,
// NLTK.
#include "explain/goldens.h"
#include "explain/evaluate/agreement.h"
#include "explain/evaluate/clearness.h"
#include "explain/evaluate/faithfulness.h"
#include "explain/evaluate/plausibility.h"

namespace clearhead::explain {
namespace {

void expect_erasure(const Answers& answers, const std::vector<double>& scores, const Json& expected) {
  const Erasure found = erasure(answers, scores, numbers(field(expected, "shares")));
  expect_numbers(found.comprehensiveness, field(expected, "comprehensiveness"));
  expect_numbers(found.sufficiency, field(expected, "sufficiency"));
  expect_number(found.comprehensiveness_aopc, field(expected, "comprehensiveness_aopc"));
  expect_number(found.sufficiency_aopc, field(expected, "sufficiency_aopc"));
}

Changes changes_over(const Json& sets, const Answers& answers, size_t items) {
  std::vector<Removal> removed;
  for (const Json& set : sets.items()) removed.push_back(removal_of(set, items));
  return changes_of(answers, removed);
}

TEST(ExplainGoldens, ComprehensivenessAndSufficiencyMatchEraser) {
  for_each_case("faithfulness", [](const Json& expected) {
    const Answers answers = answers_of(numbers(field(expected, "table")));
    const std::vector<double> scores = numbers(field(expected, "scores"));
    expect_erasure(answers, scores, field(expected, "eraser"));
    expect_erasure(answers, scores, field(expected, "fine"));
  });
}

TEST(ExplainGoldens, LeaveOneOutAndItsKendallMatchScipy) {
  for_each_case("faithfulness", [](const Json& expected) {
    const std::vector<double> scores = numbers(field(expected, "scores"));
    const std::vector<double> found = leave_one_out(answers_of(numbers(field(expected, "table"))), scores.size());
    expect_numbers(found, field(expected, "leave_one_out"));
    expect_number(kendall(scores, found), field(expected, "tau"));
  });
}

TEST(ExplainGoldens, InfidelityMatchesCaptum) {
  for_each_case("faithfulness", [](const Json& expected) {
    const std::vector<double> scores = numbers(field(expected, "scores"));
    const Json& golden = field(expected, "infidelity");
    const Infidelity found =
        infidelity(scores, changes_over(field(golden, "sets"), answers_of(numbers(field(expected, "table"))), scores.size()));
    expect_number(found.plain, field(golden, "plain"));
    expect_number(found.scaled, field(golden, "scaled"));
  });
}

TEST(ExplainGoldens, DeletionMatchesPixelFlippingOfQuantus) {
  int compared = 0;
  for_each_case("faithfulness", [&](const Json& expected) {
    const Json* golden = expected.find("deletion");
    if (golden == nullptr) return;
    ++compared;
    const Curves found = curves(answers_of(numbers(field(expected, "table"))), numbers(field(expected, "scores")),
                                static_cast<size_t>(field(*golden, "steps").integer()));
    expect_numbers(found.deletion, field(*golden, "curve"));
    expect_number(found.deletion_area, field(*golden, "area"));
  });
  EXPECT_GT(compared, 4);
}

TEST(ExplainGoldens, SensitivityNMatchesFaithfulnessCorrelationOfQuantus) {
  int compared = 0;
  for_each_case("faithfulness", [&](const Json& expected) {
    const Json* golden = expected.find("correlation");
    if (golden == nullptr) return;
    ++compared;
    const std::vector<double> scores = numbers(field(expected, "scores"));
    expect_number(sensitivity_n(scores, changes_over(field(*golden, "sets"), answers_of(numbers(field(expected, "table"))), scores.size())),
                  field(*golden, "correlation"));
  });
  EXPECT_GT(compared, 4);
}

TEST(ExplainGoldens, AgreementMatchesScipy) {
  for_each_case("agreement", [](const Json& expected) {
    const std::vector<double> x = numbers(field(expected, "x")), y = numbers(field(expected, "y"));
    expect_number(kendall(x, y), field(expected, "kendall"));
    expect_number(spearman(x, y), field(expected, "spearman"));
    expect_number(pearson(x, y), field(expected, "pearson"));
    expect_number(jensen_shannon(x, y), field(expected, "jensen_shannon"));
  });
}

TEST(ExplainGoldens, EntropyMatchesScipyAndGiniMatchesSparsenessOfQuantus) {
  for_each_case("clearness", [](const Json& expected) {
    const Clearness found = clearness(numbers(field(expected, "weights")));
    expect_number(found.entropy, field(expected, "entropy"));
    expect_number(found.gini, field(expected, "gini"));
    EXPECT_NEAR(found.effective_keys, std::exp(number(expected, "entropy")), tolerance::kDoubleSum * found.effective_keys);
  });
}

TEST(ExplainGoldens, AuprcMatchesAveragePrecisionOfScikitLearn) {
  for_each_case("plausibility", [](const Json& expected) {
    std::vector<uint8_t> marked;
    for (const Json& mark : field(expected, "marked").items()) marked.push_back(static_cast<uint8_t>(mark.integer()));
    expect_number(plausibility(numbers(field(expected, "scores")), marked).auprc, field(expected, "auprc"));
  });
}

TEST(ExplainGoldens, AlignmentErrorRateMatchesNltk) {
  const auto links_of = [](const Json& list) {
    std::vector<Link> out;
    for (const Json& link : list.items()) out.push_back({link.items()[0].integer(), link.items()[1].integer()});
    return out;
  };
  for_each_case("alignment", [&](const Json& expected) {
    const auto found = links_of(field(expected, "found")), sure = links_of(field(expected, "sure"));
    expect_number(alignment(found, sure, links_of(field(expected, "possible"))).error_rate, field(expected, "error_rate"));
    expect_number(alignment(found, sure, {}).error_rate, field(expected, "without_possible"));
  });
}

}  // namespace
}  // namespace clearhead::explain
