// Answers against the evaluation script of SQuAD 2.0, as included in transformers.
#include "metrics/answers.h"

#include "metrics/goldens.h"
#include "refused.h"

namespace clearhead::metrics {
namespace {

std::vector<AnsweredQuestion> questions_of(const Json& list) {
  std::vector<AnsweredQuestion> out;
  for (const Json& item : list.items()) {
    out.push_back({field(item, "prediction").string(), strings(field(item, "answers")), field(item, "no_answer_probability").number()});
  }
  return out;
}

std::vector<double> flat(const AnswerScores& scores) {
  std::vector<double> out;
  for (const AnswerScore& score : {scores.all, scores.has_answer, scores.no_answer}) {
    for (const double value : {score.exact, score.f1, static_cast<double>(score.total)}) out.push_back(value);
  }
  return out;
}

TEST(Answers, ScoresAreThoseOfSquad2) {
  for_each_case("answers", [](const Json& expected) {
    const auto questions = questions_of(field(expected, "questions"));
    expect_numbers(flat(squad2(questions)), field(expected, "squad2"));
    expect_numbers(flat(squad2(questions, 0.5)), field(expected, "squad2_half"));
  });
}

TEST(Answers, AreNormalisedAsTheScriptsDo) {
  for_each_case("answers", [](const Json& expected) {
    const auto questions = questions_of(field(expected, "questions"));
    for (size_t i = 0; i < questions.size(); ++i) {
      EXPECT_EQ(normalised_answer(questions[i].prediction), field(expected, "normalised").items()[i].string());
    }
  });
  EXPECT_EQ(normalised_answer("The U.S.-led  force!"), "usled force");
}

TEST(Answers, TwoEmptyNormalisedAnswersMatch) {
  const std::vector<AnsweredQuestion> none{{"", {}}}, articles{{"the", {"An"}}};
  EXPECT_EQ(flat(squad2(none)), (std::vector<double>{100, 100, 1, 0, 0, 0, 100, 100, 1}));
  EXPECT_EQ(squad2(articles).has_answer.f1, 100);
}

TEST(Answers, AWordCountsAsOftenAsBothHoldIt) {
  const std::vector<AnsweredQuestion> repeated{{"cat cat", {"cat dog"}}};
  EXPECT_EQ(squad2(repeated).all.f1, 50);
}

TEST(Answers, RefusesNoQuestions) {
  expect_refused(ErrorCode::kInvalidArgument, "SQuAD 2.0: no questions; expected at least one", [] { squad2({}); });
}

TEST(Answers, BytesThatAreNoTextAreReadAsReplacements) { EXPECT_EQ(normalised_answer("\xff the"), "\xEF\xBF\xBD"); }

}  // namespace
}  // namespace clearhead::metrics
