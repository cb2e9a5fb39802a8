// Compares methods on planted truth: the answer of a synthetic target depends on two known items only.
#include "explain/evaluate/verdict.h"

#include <gtest/gtest.h>

#include <cmath>

#include "clearhead/error.h"
#include "explain/golden_cases.h"

namespace clearhead::explain {
namespace {

// A real model's text and maps, but an answer of 1 with both planted items, 0.6 with one, 0.1 with none.
class Planted final : public AttributionTarget {
 public:
  Planted(const AttributionTarget& real, std::vector<size_t> planted, std::shared_ptr<const Model> model)
      : AttributionTarget(std::move(model)), real_(real), planted_(std::move(planted)) {
    plan_ = real.plan();
    side_ = real.side();
    rows_ = real.rows();
    begin_with(real.items());
    answer_ids_ = real.answer_ids();
    probability_ = 1;
  }
  std::vector<double> answers(const std::vector<std::vector<uint8_t>>& removed, RemovedBy) const override {
    std::vector<double> out;
    for (const auto& set : removed) {
      int left = 0;
      for (const size_t item : planted_) left += set[item] == 0;
      out.push_back(left == 2 ? 1 : left == 1 ? 0.6 : 0.1);
    }
    return out;
  }
  Outcome run(Observer* observer, const Interventions& interventions) const override { return real_.run(observer, interventions); }
  double differentiate(InputTape& tape, Observer* observer, const Interventions& interventions, Number number) const override {
    return real_.differentiate(tape, observer, interventions, number);
  }

 private:
  const AttributionTarget& real_;
  std::vector<size_t> planted_;
};

size_t place_of(const Verdict& verdict, const std::string& name) {
  for (size_t at = 0; at < verdict.names().size(); ++at) {
    if (verdict.names()[at] == name) return at;
  }
  ADD_FAILURE() << name;
  return 0;
}

TEST(Verdict, OcclusionFindsThePlantedItemsAndOtherMethodsDoNot) {
  const auto model = load(kGoldens + "bert/classify", {.tokenizer = false, .gradients = true});
  const auto real = golden_subject(golden_cases()[0], model);
  real->set_items({real->items().begin() + 1, real->items().end()});
  const Planted subject(*real, {2, 7}, model);
  std::vector<uint8_t> marks(subject.items().size());
  marks[2] = marks[7] = 1;
  Verdict verdict({.methods = {method_named("occlusion"), method_named("attention")}, .random_rankings = 200});
  ASSERT_TRUE(verdict.add(subject, marks));
  ASSERT_EQ(verdict.names(), (std::vector<std::string>{"occlusion", "attention", "random", "reverse of occlusion"}));
  const size_t right = 0, attention = 1, random = place_of(verdict, "random"), reverse = place_of(verdict, "reverse of occlusion");
  const auto at = [&](size_t method, Measure measure) { return verdict.mean(method, measure).mean; };
  EXPECT_EQ(at(right, Measure::kAuprc), 1);
  EXPECT_EQ(at(right, Measure::kTokenF1), 1);
  // Removing 1, 5 or 10 % of 10 items removes the first planted item (0.4); 20 or 50 % removes both (0.9).
  EXPECT_NEAR(at(right, Measure::kComprehensiveness), (3 * 0.4 + 2 * 0.9) / 5, 1e-12);
  EXPECT_NEAR(at(right, Measure::kSufficiency), 3 * 0.4 / 5, 1e-12);
  EXPECT_NEAR(at(random, Measure::kAuprc), 0.35, 0.06);  // 2 marks among 10 items in random order
  for (const size_t wrong : {attention, random, reverse}) {
    EXPECT_LT(at(wrong, Measure::kComprehensiveness), at(right, Measure::kComprehensiveness));
    EXPECT_GT(at(wrong, Measure::kSufficiency), at(right, Measure::kSufficiency));
    EXPECT_GT(at(wrong, Measure::kDeletion), at(right, Measure::kDeletion));
    EXPECT_LT(at(wrong, Measure::kInsertion), at(right, Measure::kInsertion));
    EXPECT_LT(at(wrong, Measure::kAuprc), 1);
    EXPECT_GT(at(wrong, Measure::kInfidelity), at(right, Measure::kInfidelity));
  }
  EXPECT_NEAR(verdict.against_random(right, Measure::kComprehensiveness).mean,
              at(right, Measure::kComprehensiveness) - at(random, Measure::kComprehensiveness), 1e-12);
}

TEST(Verdict, ShortTextsAreSkippedAndWrongMarksAreRefused) {
  const auto model = load(kGoldens + "bert/classify", {.tokenizer = false});
  const auto subject = golden_subject(golden_cases()[0], model);
  EXPECT_THROW(Verdict({}), Error);
  Verdict verdict({.methods = {method_named("attention")}});
  EXPECT_THROW(verdict.add(*subject, {1, 0}), Error);
  subject->set_items({{1, 3}, {3, 5}});
  EXPECT_FALSE(verdict.add(*subject));
  EXPECT_EQ(verdict.texts(), 0);
}

}  // namespace
}  // namespace clearhead::explain
