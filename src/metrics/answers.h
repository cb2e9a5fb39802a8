// Answers to questions about a text, as SQuAD's official evaluation scores them: exact match and F1 over words, in percent.
//
//   normalised: lower case; ASCII punctuation gone; the words a, an, the gone; blanks single      "The U.S.-led  force!" → "usled force"
//   F1 = 2pr / (p + r)      p, r: shared words (each as often as both hold it) of the prediction's and the answer's
//
// A question counts with its best gold answer, exact match and F1 each for itself. Sources: Rajpurkar et al. 2016 (1.1), 2018 (2.0), and their scripts, which
// part where nothing is left after normalising: two such texts have an F1 of 1 in 2.0 and of 0 in 1.1.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace clearhead::metrics {

/// Invalid UTF-8 is read as U+FFFD.
std::string normalised_answer(std::string_view text);

struct AnsweredQuestion {
  std::string prediction;            // empty: there is no answer
  std::vector<std::string> answers;  // gold; empty: there is no answer
  double no_answer_probability = 0;  // 2.0 only
};

struct AnswerScore {
  double exact = 0, f1 = 0;  // 0 … 100; 0 without questions
  int64_t total = 0;         // questions
};

struct AnswerScores {
  AnswerScore all, has_answer, no_answer;  // the latter two by whether gold answers exist
};

/// SQuAD 1.1. Throws kInvalidArgument without questions, and for a question without a gold answer.
AnswerScore squad1(std::span<const AnsweredQuestion> questions);

/// SQuAD 2.0. Gold answers that normalise to nothing do not count. Where the probability that there is no answer exceeds the threshold, the prediction is taken
/// to be that. Throws kInvalidArgument without questions.
AnswerScores squad2(std::span<const AnsweredQuestion> questions, double no_answer_threshold = 1);

}  // namespace clearhead::metrics
