// Splits answers into normalised words and counts the words that two answers share.
#include "metrics/answers.h"

#include <algorithm>
#include <map>

#include "metrics/checks.h"
#include "text/strings.h"
#include "text/unicode.h"

namespace clearhead::metrics {
namespace {

bool is_ascii_punctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

// Replaces the words a, an and the by a space: \b(a|an|the)\b, where words are runs of letters and numbers.
std::string without_articles(std::string_view text) {
  std::string out, word;
  const auto put_word = [&] {
    out += word == "a" || word == "an" || word == "the" ? " " : word;
    word.clear();
  };
  for (size_t at = 0; at < text.size();) {
    const text::Decoded next = text::decode_valid(text, at);
    const bool is_of_word = text::is(next.c, text::kLetter | text::kNumber);
    if (!is_of_word) put_word();
    (is_of_word ? word : out) += text.substr(at, next.length);
    at += next.length;
  }
  put_word();
  return out;
}

std::vector<std::string> words_of(std::string_view text) {
  std::string lowered = text::lower(text::replace_invalid(text));
  std::erase_if(lowered, is_ascii_punctuation);
  const std::string kept = without_articles(lowered);
  const std::vector<std::string_view> words = text::split_at_blanks(kept);
  return {words.begin(), words.end()};
}

double f1_of(const std::vector<std::string>& ours, const std::vector<std::string>& theirs) {
  if (ours.empty() && theirs.empty()) return 1;
  std::map<std::string_view, int64_t> left;
  for (const std::string& word : theirs) ++left[word];
  const auto shared = std::count_if(ours.begin(), ours.end(), [&](const std::string& word) { return left[word]-- > 0; });
  if (shared == 0) return 0;
  const double precision = static_cast<double>(shared) / static_cast<double>(ours.size());
  const double recall = static_cast<double>(shared) / static_cast<double>(theirs.size());
  return 2 * precision * recall / (precision + recall);
}

using Answers = std::vector<std::vector<std::string>>;  // the words of each answer

Answers answers_of(const AnsweredQuestion& question) {
  Answers out;
  for (const std::string& answer : question.answers) out.push_back(words_of(answer));
  return out;
}

// The best exact match and the best F1 over the gold answers of one question, in percent.
AnswerScore best_of(std::string_view prediction, const Answers& answers) {
  const std::vector<std::string> ours = words_of(prediction);
  AnswerScore out{0, 0, 1};
  for (const std::vector<std::string>& theirs : answers) {
    out.exact = std::max(out.exact, ours == theirs ? 100.0 : 0.0);
    out.f1 = std::max(out.f1, 100 * f1_of(ours, theirs));
  }
  return out;
}

// Adds the score of one question; divide() turns sums into means.
void add(AnswerScore& sum, const AnswerScore& question) {
  sum.exact += question.exact;
  sum.f1 += question.f1;
  sum.total += question.total;
}

void divide(AnswerScore& sum) {
  if (sum.total == 0) return;
  sum.exact /= static_cast<double>(sum.total);
  sum.f1 /= static_cast<double>(sum.total);
}

}  // namespace

std::string normalised_answer(std::string_view text) {
  std::string out;
  for (const std::string& word : words_of(text)) {
    if (!out.empty()) out += ' ';
    out += word;
  }
  return out;
}

AnswerScores squad2(std::span<const AnsweredQuestion> questions, double no_answer_threshold) {
  check_sides("SQuAD 2.0", "questions", questions.size(), questions.size());
  AnswerScores out;
  for (const AnsweredQuestion& question : questions) {
    const bool has_answer = !question.answers.empty();
    Answers answers = answers_of(question);
    std::erase_if(answers, [](const auto& words) { return words.empty(); });
    if (answers.empty()) answers.emplace_back();
    AnswerScore found = best_of(question.prediction, answers);
    if (question.no_answer_probability > no_answer_threshold) found.exact = found.f1 = has_answer ? 0 : 100;
    add(out.all, found);
    add(has_answer ? out.has_answer : out.no_answer, found);
  }
  for (AnswerScore* sum : {&out.all, &out.has_answer, &out.no_answer}) divide(*sum);
  return out;
}

}  // namespace clearhead::metrics
