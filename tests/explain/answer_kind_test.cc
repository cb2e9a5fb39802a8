// The kinds of answers that models give.
#include "explain/answer_kind.h"

#include <gtest/gtest.h>

#include <cmath>

#include "models/input_kind.h"

namespace clearhead::explain {
namespace {

// If two kinds applied to a model, it would be explained by the one whose file name comes first.
TEST(AnswerKinds, AtMostOneAppliesToAnyModel) {
  for (const InputKind* input : input_kinds()) {
    for (int flags = 0; flags < 64; ++flags) {
      for (const ProblemType problem : {ProblemType::kSingleLabel, ProblemType::kMultiLabel, ProblemType::kRegression}) {
        ModelInfo info{.reads = std::string(input->name), .problem = problem};
        info.has_masked = flags & 1;
        info.has_causal = flags & 2;
        info.has_classifier = flags & 4;
        info.tags = flags & 8;
        if (flags & 16) info.labels = {"a", "b"};
        if (flags & 32) info.answers.emplace();
        int count = 0;
        for (const AnswerKind* kind : answer_kinds()) count += kind->applies(info) ? 1 : 0;
        EXPECT_LE(count, 1) << info.reads << " " << flags;
        EXPECT_EQ(answer_kind(info) != nullptr, count == 1);
      }
    }
  }
}

TEST(AnswerKinds, EachCanBeExplained) {
  ASSERT_GE(answer_kinds().size(), 7U);
  for (const AnswerKind* kind : answer_kinds()) {
    EXPECT_TRUE(kind->applies && kind->of_input) << kind->name;
    EXPECT_EQ(kind->is_sequence && !kind->of_each_token, false) << kind->name << ": a sequence has an answer at each token";
  }
}

TEST(AnswerKinds, TheDivergenceOfTwoDistributionsIsTheirKullbackLeiblerDivergence) {
  ModelInfo info{.reads = "text", .labels = {"a", "b"}};
  info.has_classifier = true;
  const Answers before{{"a", "b"}, {0.75, 0.25}}, after{{"a", "b"}, {0.5, 0.5}};
  EXPECT_NEAR(*divergence(info, before, after), 0.75 * std::log(1.5) + 0.25 * std::log(0.5), 1e-12);
  info.problem = ProblemType::kMultiLabel;
  EXPECT_FALSE(divergence(info, before, after)) << "independent labels are no distribution";
}

}  // namespace
}  // namespace clearhead::explain
