// ROUGE (Lin 2004): n-grams and common subsequences that a summary shares with a reference, equal to Google's rouge-score with use_stemmer=False.
//
//   ROUGE-N     shared n-grams, each as often as both hold it, of the summary's (precision) and the reference's (recall)
//   ROUGE-L     the longest common subsequence of words, of the whole texts
//   ROUGE-Lsum  for each line of the reference the union of its longest common subsequences with every line of the summary; a word counts at most as often
//               as either text holds it
//   F = 2pr / (p + r)
//
// Words: what is left of the lower-cased text between characters other than a–z and 0–9. There is no stemmer: rouge-score's use_stemmer=True is nltk's
// extended Porter stemmer; Snowball's `porter` (libstemmer) stems 508 of 44,407 words differently (today, delayed, used, proceed, skies).
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

/// From a text to its words. ROUGE of other writing than Latin needs one of its own: rouge-score's would find no word in Chinese.
using RougeWords = std::function<std::vector<std::string>(std::string_view)>;
std::vector<std::string> rouge_words(std::string_view text);

/// Lines are sentences to ROUGE-Lsum (rouge-score's split_summaries=False). Invalid UTF-8 is read as U+FFFD. Memory: four bytes for each pair of words of two
/// lines.
Rouge rouge(std::string_view summary, std::string_view reference, const RougeWords& words = rouge_words);

/// Of several references, for each kind the one with the largest F, the first of equals (score_multi). Throws kInvalidArgument without a reference.
Rouge best_rouge(std::string_view summary, const std::vector<std::string>& references, const RougeWords& words = rouge_words);

/// The means over pairs, of precision, recall and F each for itself. Throws kInvalidArgument where the sides differ in number, and without any.
Rouge mean_rouge(const std::vector<std::string>& summaries, const std::vector<std::string>& references,
                 const RougeWords& words = rouge_words);

}  // namespace clearhead::metrics
