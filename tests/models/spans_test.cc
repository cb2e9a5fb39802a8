// Answer spans: windows over a long text, and the best span of the logits.
#include "models/spans.h"

#include <gtest/gtest.h>

#include <cmath>

#include "refused.h"

namespace clearhead {
namespace {

constexpr const char* kVocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nwho\na\nb\nc\nd\ne\nf\ng\n";

std::string words_of(const Encoding& window, std::string_view text) {
  std::string out;
  for (size_t token = 0; token < window.size(); ++token) {
    const auto [begin, end] = window.offsets[token];
    if (window.segment[token] == 1) out += text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  }
  return out;
}

TEST(AnswerWindows, CoverTheTextAndShareTheOverlap) {
  const auto tokenizer = Tokenizer::from_wordpiece(kVocabulary);
  const std::string_view text = "a b c d e f g";
  const std::vector<Encoding> windows = answer_windows(*tokenizer, "who", text, {.window = 8, .overlap = 2});
  ASSERT_EQ(windows.size(), 3U);
  EXPECT_EQ(words_of(windows[0], text), "abcd");
  EXPECT_EQ(words_of(windows[1], text), "cdef");
  EXPECT_EQ(words_of(windows[2], text), "efg");
  EXPECT_EQ(windows[1].ids, (std::vector<int32_t>{2, 4, 3, 7, 8, 9, 10, 3}));
  EXPECT_EQ(windows[1].type_ids, (std::vector<int32_t>{0, 0, 0, 1, 1, 1, 1, 1}));
  EXPECT_EQ(answer_windows(*tokenizer, "who", "a b c d", {.window = 8, .overlap = 2}).size(), 1U);
  EXPECT_EQ(answer_windows(*tokenizer, "who", "", {.window = 8, .overlap = 2}).size(), 1U);
}

TEST(AnswerWindows, LongQuestionsAreTruncatedAndTheTextNeedsRoom) {
  const auto tokenizer = Tokenizer::from_wordpiece(kVocabulary);
  const std::vector<Encoding> windows = answer_windows(*tokenizer, "who a b c d", "e f", {.window = 8, .overlap = 0});
  EXPECT_EQ(windows[0].ids, (std::vector<int32_t>{2, 4, 5, 6, 7, 3, 9, 3}));
  expect_refused(ErrorCode::kInvalidArgument,
                 "a window of 8 tokens leaves 4 tokens for the text besides the question; expected more than the overlap of 4",
                 [&] { return answer_windows(*tokenizer, "who", "a", {.window = 8, .overlap = 4}); });
}

TEST(BestSpan, IsWithinTheTextInOrderAndNotTooLong) {
  const auto tokenizer = Tokenizer::from_wordpiece(kVocabulary);
  const Encoding window = answer_windows(*tokenizer, "who", "a b c", {.window = 8, .overlap = 0}).front();  // [CLS] who [SEP] a b c [SEP]
  //                                   [CLS]   who     [SEP]   a       b       c       [SEP]
  const std::vector<float> logits = {1, 2, 9, 9, 9, 9, 4, 0, 2, 3, 3, 5, 9, 9};
  const WindowAnswer two = best_span(window, logits.data(), 2), three = best_span(window, logits.data(), 3);
  EXPECT_EQ((std::pair{three.begin, three.end}), (std::pair<int64_t, int64_t>{0, 5}));  // a b c: 4 + 5
  EXPECT_EQ(three.score, 9);
  EXPECT_EQ((std::pair{two.begin, two.end}), (std::pair<int64_t, int64_t>{4, 5}));  // c: 3 + 5; better than "a b": 4 + 3
  EXPECT_EQ(two.score, 8);
  EXPECT_EQ(two.null_score, 3);
  double starts = 0, ends = 0;
  for (size_t token = 0; token < 7; ++token) starts += std::exp(logits[2 * token]), ends += std::exp(logits[2 * token + 1]);
  EXPECT_NEAR(three.probability, std::exp(9) / starts / ends, 1e-12);
  EXPECT_NEAR(three.null_probability, std::exp(3) / starts / ends, 1e-12);
}

TEST(TextAnswers, UseTheBestWindowUnlessTheNullScoreLeadsByMoreThanTheThreshold) {
  const std::vector<WindowAnswer> windows = {{.score = 1, .null_score = 9, .begin = 0, .end = 3},
                                             {.score = 4, .null_score = 5, .begin = 6, .end = 8}};
  const TextAnswer taken = together(windows, 1), left = together(windows, 0.5);
  EXPECT_TRUE(taken.found);
  EXPECT_FALSE(left.found);
  EXPECT_EQ((std::pair{left.begin, left.end}), (std::pair<int64_t, int64_t>{6, 8}));
  EXPECT_EQ((std::pair{taken.score, taken.null_score}), (std::pair{4.0, 5.0}));
}

}  // namespace
}  // namespace clearhead
