// Error rates against jiwer, including the counts of each kind of edit; perplexity.
#include "metrics/words.h"

#include <cmath>
#include <limits>

#include "metrics/goldens.h"
#include "refused.h"

namespace clearhead::metrics {
namespace {

std::vector<double> flat(const ErrorRate& found) {
  return {found.rate, static_cast<double>(found.hits), static_cast<double>(found.substitutions), static_cast<double>(found.insertions),
          static_cast<double>(found.deletions)};
}

TEST(ErrorRates, RatesAndEditsMatchJiwer) {
  for_each_case("error_rates", [](const Json& expected) {
    const auto hypotheses = strings(field(expected, "hypotheses")), references = strings(field(expected, "references"));
    expect_numbers(flat(word_error_rate(hypotheses, references)), field(expected, "words"));
    expect_numbers(flat(character_error_rate(hypotheses, references)), field(expected, "characters"));
  });
}

TEST(ErrorRates, WithoutAReferenceInsertionsAreCounted) {
  EXPECT_EQ(flat(word_error_rate({"a b"}, {""})), (std::vector<double>{2, 0, 0, 2, 0}));
  EXPECT_EQ(flat(word_error_rate({""}, {"a b"})), (std::vector<double>{1, 0, 0, 0, 2}));
  EXPECT_EQ(flat(word_error_rate({""}, {""})), (std::vector<double>{0, 0, 0, 0, 0}));
}

TEST(ErrorRates, BytesThatAreNoTextAreOneCharacterEach) { EXPECT_EQ(character_error_rate({"\xff"}, {"a\xff"}).deletions, 1); }

TEST(ErrorRates, RefusesUnequalOrEmptyLists) {
  expect_refused(ErrorCode::kInvalidArgument, "word error rate: 1 sentences against 2; the numbers must be equal", [] {
    word_error_rate({"a"}, {"a", "b"});
  });
  expect_refused(ErrorCode::kInvalidArgument, "character error rate: no sentences", [] { character_error_rate({}, {}); });
}

TEST(Perplexity, OfAUniformChoiceIsTheNumberOfChoices) {
  EXPECT_NEAR(perplexity(7 * std::log(50), 7), 50, tolerance::kDoubleSum);
  EXPECT_EQ(perplexity(0, 3), 1);
}

TEST(Perplexity, RefusesZeroTokensAndNonFiniteSums) {
  expect_refused(ErrorCode::kInvalidArgument, "perplexity: 0 tokens; expected at least one", [] { perplexity(1, 0); });
  expect_refused(ErrorCode::kInvalidArgument, "expected a finite number", [] { perplexity(std::numeric_limits<double>::infinity(), 1); });
}

}  // namespace
}  // namespace clearhead::metrics
