// ROUGE (Lin 2004): n-grams and common subsequences that a summary shares with a reference, equal to Google's rouge-score with use_stemmer=False.
//
//   ROUGE-N     shared n-grams, each as often as both hold it, of the summary's (precision) and the reference's (recall)
//   ROUGE-L     the longest common subsequence of words, of the whole texts
//   ROUGE-Lsum  for each line of the reference the union of its longest common subsequences with every line of the summary; a word counts at most as often
//               as either text holds it
//   F = 2pr / (p + r)
//
// rouge-score's words (latin_words) are the runs of a–z and 0–9 in the lower-cased text, so it finds no word in Chinese, Russian or Arabic and its scores
// there are 0. The default here (words_of_any_script) finds the same words in ASCII, and beside them those of other scripts: runs of letters, digits and marks;
// where a language is written without spaces, each character is a word. Accented Latin letters separate words, as they do for rouge-score.
//
// There is no stemmer: rouge-score's use_stemmer=True is nltk's extended Porter stemmer; Snowball's `porter` (libstemmer) stems 508 of 44,407 words differently
// (today, delayed, used, proceed, skies).
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace clearhead::metrics {

struct RougeScore {
  double precision = 0, recall = 0, f = 0;  // 0 … 1; 0 where a text has no word, or none long enough for an n-gram
};

struct Rouge {
  RougeScore rouge1, rouge2, rouge_l, rouge_l_sum;
};

/// Splits a text into its words.
using RougeWords = std::function<std::vector<std::string>(std::string_view)>;
std::vector<std::string> words_of_any_script(std::string_view text);
/// The words of rouge-score.
std::vector<std::string> latin_words(std::string_view text);

/// Lines are sentences to ROUGE-Lsum (rouge-score's split_summaries=False). Invalid UTF-8 is read as U+FFFD. Memory: four bytes for each pair of words of two
/// lines.
Rouge rouge(std::string_view summary, std::string_view reference, const RougeWords& words = words_of_any_script);

/// Of several references, for each kind the one with the largest F, the first of equals (score_multi). Throws kInvalidArgument without a reference.
Rouge best_rouge(std::string_view summary, const std::vector<std::string>& references, const RougeWords& words = words_of_any_script);

/// The means over pairs, of precision, recall and F each for itself. Throws kInvalidArgument where the sides differ in number, and without any.
Rouge mean_rouge(const std::vector<std::string>& summaries, const std::vector<std::string>& references,
                 const RougeWords& words = words_of_any_script);

}  // namespace clearhead::metrics
