// Scores answers to questions as SQuAD's official evaluation does: exact match and F1 over words, in percent.
//
//   normalised: lower case, without ASCII punctuation and the words a, an, the, single spaces
//     "The U.S.-led  force!" → "usled force"
//   F1 = 2pr / (p + r)
//     p = shared words / words of the prediction      r = shared words / words of the answer
//     a word that occurs m times in one text and n times in the other counts min(m, n) times as shared
//
// A question is scored by its best gold answer, separately for exact match and F1. Sources: Rajpurkar et al. 2016 (1.1),
// 2018 (2.0), and their scripts. The scripts differ for texts that are empty after normalising: two such texts have an F1
// of 1 in 2.0 and of 0 in 1.1.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace clearhead::metrics {

/// Normalises a text as above. Invalid UTF-8 is read as U+FFFD.
std::string normalised_answer(std::string_view text);

struct AnsweredQuestion {
  std::string prediction;            // empty: predicts that the question has no answer
  std::vector<std::string> answers;  // gold answers; empty: the question has no answer
  double no_answer_probability = 0;  // predicted; for SQuAD 2.0 only
};

struct AnswerScore {
  double exact = 0, f1 = 0;  // 0 … 100; 0 without questions
  int64_t total = 0;         // number of questions
};

struct AnswerScores {
  AnswerScore all, has_answer, no_answer;  // has_answer: questions with a gold answer; no_answer: the others
};

/// SQuAD 2.0. Gold answers that are empty after normalising are ignored. If no_answer_probability exceeds the threshold,
/// the prediction counts as "no answer". Throws kInvalidArgument without questions.
AnswerScores squad2(std::span<const AnsweredQuestion> questions, double no_answer_threshold = 1);

}  // namespace clearhead::metrics
