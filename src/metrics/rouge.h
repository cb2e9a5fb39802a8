// ROUGE (Lin 2004): n-grams and common subsequences that a summary shares with a reference, equal to Google's rouge-score
// with use_stemmer=False.
//
//   ROUGE-N     precision = shared n-grams / n-grams of the summary      recall = shared n-grams / n-grams of the reference;
//               an n-gram that occurs a times in one text and b times in the other counts min(a, b) times as shared
//   ROUGE-L     the longest common subsequence of the words of the whole texts
//   ROUGE-Lsum  for each line of the reference, the union of its longest common subsequences with every line of the
//               summary; a word counts at most as often as it occurs in the text that has fewer of it
//   F = 2pr / (p + r)
//
// The words of rouge-score (latin_words) are the runs of a–z and 0–9 in the lower-cased text. It finds no words in Chinese,
// Russian or Arabic, so its scores there are 0. The default here (words_of_any_script) finds the same words in ASCII, and
// also words of other scripts: runs of letters, digits and marks; in a script that is written without spaces, each
// character is a word. Accented Latin letters separate words, as in rouge-score.
//
// There is no stemmer. rouge-score's use_stemmer=True is nltk's extended Porter stemmer; Snowball's `porter` (libstemmer)
// stems 508 of 44,407 words differently (today, delayed, used, proceed, skies).
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace clearhead::metrics {

struct RougeScore {
  double precision = 0, recall = 0, f = 0;  // 0 … 1; 0 if a text has no words, or too few for an n-gram
};

struct Rouge {
  RougeScore rouge1, rouge2, rouge_l, rouge_l_sum;
};

/// Splits a text into its words.
using RougeWords = std::function<std::vector<std::string>(std::string_view)>;
std::vector<std::string> words_of_any_script(std::string_view text);
/// The words of rouge-score.
std::vector<std::string> latin_words(std::string_view text);

/// ROUGE-Lsum treats lines as sentences (rouge-score's split_summaries=False). Invalid UTF-8 is read as U+FFFD. Memory: four
/// bytes for each pair of words of two lines.
Rouge rouge(std::string_view summary, std::string_view reference, const RougeWords& words = words_of_any_script);

/// For each kind of ROUGE, the score against the reference with the largest F, the first one if several are equal
/// (score_multi). Throws kInvalidArgument without a reference.
Rouge best_rouge(std::string_view summary, const std::vector<std::string>& references, const RougeWords& words = words_of_any_script);

/// Means over pairs, separately for precision, recall and F. Throws kInvalidArgument if the numbers of texts differ, and
/// without texts.
Rouge mean_rouge(const std::vector<std::string>& summaries, const std::vector<std::string>& references,
                 const RougeWords& words = words_of_any_script);

}  // namespace clearhead::metrics
