// ROUGE against Google's rouge-score without its stemmer.
#include "metrics/rouge.h"

#include "metrics/goldens.h"
#include "refused.h"

namespace clearhead::metrics {
namespace {

void expect_rouge(const Rouge& found, const Json& expected) {
  const RougeScore scores[] = {found.rouge1, found.rouge2, found.rouge_l, found.rouge_l_sum};
  ASSERT_EQ(expected.size(), std::size(scores));
  for (size_t kind = 0; kind < std::size(scores); ++kind) {
    SCOPED_TRACE(kind);
    expect_numbers({scores[kind].precision, scores[kind].recall, scores[kind].f}, expected.items()[kind]);
  }
}

TEST(Rouge, ScoresWordsAndMeansMatchRougeScore) {
  for_each_case("rouge", [](const Json& expected) {
    const auto summaries = strings(field(expected, "summaries")), references = strings(field(expected, "references"));
    for (size_t i = 0; i < summaries.size(); ++i) {
      EXPECT_EQ(latin_words(summaries[i]), strings(field(expected, "words").items()[i]));
      expect_rouge(rouge(summaries[i], references[i], latin_words), field(expected, "scores").items()[i]);
    }
    expect_rouge(mean_rouge(summaries, references, latin_words), field(expected, "mean"));
    expect_rouge(best_rouge(summaries[0], references, latin_words), field(expected, "best_of_references"));
  });
}

TEST(Rouge, OfReferencesWithEqualFTheFirstIsTaken) {
  EXPECT_EQ(best_rouge("a b", {"a x", "a b x x x x"}).rouge1.precision, 0.5);
  EXPECT_EQ(best_rouge("a b", {"a b x x x x", "a x"}).rouge1.precision, 1);
}

TEST(Rouge, OneWordHasNoBigramAndEmptyTextsScoreZero) {
  EXPECT_EQ(rouge("cat", "cat").rouge1.f, 1);
  EXPECT_EQ(rouge("cat", "cat").rouge2.f, 0);
  for (const Rouge& found : {rouge("", "cat"), rouge("cat", ""), rouge("", ""), rouge("\xff", "猫"), rouge("猫", "猫", latin_words)}) {
    EXPECT_EQ(found.rouge1.f + found.rouge_l.f + found.rouge_l_sum.f, 0);
  }
}

using Words = std::vector<std::string>;

TEST(Rouge, TakesEachCharacterOfALanguageWithoutSpacesForAWord) {
  EXPECT_EQ(words_of_any_script("猫坐在垫子上。"), (Words{"猫", "坐", "在", "垫", "子", "上"}));
  EXPECT_EQ(words_of_any_script("ネコは「座る」。"), (Words{"ネ", "コ", "は", "座", "る"}));
  EXPECT_EQ(words_of_any_script("\u0e1b\u0e49\u0e32"), (Words{"\u0e1b\u0e49", "\u0e32"}));  // Thai: a tone mark stays with its letter
  EXPECT_EQ(words_of_any_script("GPT-2训练了3天"), (Words{"gpt", "2", "训", "练", "了", "3", "天"}));
  const Rouge found = rouge("猫坐在垫子上", "狗坐在垫子上");
  EXPECT_NEAR(found.rouge1.f, 5.0 / 6, tolerance::kDouble);
  EXPECT_NEAR(found.rouge2.f, 4.0 / 5, tolerance::kDouble);
  EXPECT_NEAR(found.rouge_l.f, 5.0 / 6, tolerance::kDouble);
}

TEST(Rouge, TakesRunsOfLettersOfOtherScriptsForWords) {
  EXPECT_EQ(words_of_any_script("Кошка сидит, да!"), (Words{"кошка", "сидит", "да"}));
  EXPECT_EQ(words_of_any_script("हिन्दी में"), (Words{"हिन्दी", "में"}));
  EXPECT_EQ(words_of_any_script("고양이가 앉았다"), (Words{"고양이가", "앉았다"}));
  EXPECT_EQ(words_of_any_script("x²-Σ"), (Words{"x", "σ"}));
}

// rouge-score splits words at every non-ASCII character, so also at these.
TEST(Rouge, SplitsLatinTextLikeRougeScore) {
  for (const char* text : {"The naïve café's U.S. cats: 1,000 x2 a_b", "Stra\u00dfe, \u0130stanbul", "e\u0301te\u0301"})
    EXPECT_EQ(words_of_any_script(text), latin_words(text)) << text;
}

TEST(Rouge, AcceptsACustomWordSplitter) {
  const auto bytes = [](std::string_view text) {
    std::vector<std::string> out;
    for (const char c : text) out.emplace_back(1, c);
    return out;
  };
  EXPECT_NEAR(rouge("猫", "狗", bytes).rouge1.f, 1.0 / 3, tolerance::kDouble);  // E7 8C AB, E7 8B 97
}

TEST(Rouge, RefusesUnequalOrEmptyLists) {
  expect_refused(ErrorCode::kInvalidArgument, "ROUGE: 1 texts against 2; the numbers must be equal", [] { mean_rouge({"a"}, {"a", "b"}); });
  expect_refused(ErrorCode::kInvalidArgument, "ROUGE: no texts", [] { mean_rouge({}, {}); });
  expect_refused(ErrorCode::kInvalidArgument, "ROUGE: no references", [] { best_rouge("a", {}); });
}

}  // namespace
}  // namespace clearhead::metrics
