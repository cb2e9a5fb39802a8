// How many words or characters of a text are wrong, equal to jiwer, and the perplexity of a text.
//
//   rate = (substitutions + insertions + deletions) / (hits + substitutions + deletions)      of a shortest edit (Levenshtein 1966), sums over all sentences
//
// The rate may exceed 1. Without a word in the references it is the number of insertions, as jiwer has it. Of the shortest edits the one is counted that jiwer's
// alignment (rapidfuzz) takes; for texts of thousands of items that one splits the work and could choose another (none seen up to 6,000 characters).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace clearhead::metrics {

struct ErrorRate {
  double rate = 0;
  int64_t hits = 0, substitutions = 0, insertions = 0, deletions = 0;
};

/// Words are what single blanks (U+0020) and two or more of any white space separate: a single tab does not. Case and punctuation count.
/// Invalid UTF-8 is read as U+FFFD. Memory: a byte for each pair of items of one sentence. Throws kInvalidArgument where the sides differ in number, or
/// without sentences.
ErrorRate word_error_rate(const std::vector<std::string>& hypotheses, const std::vector<std::string>& references);

/// Characters are code points, blanks inside among them. The same otherwise.
ErrorRate character_error_rate(const std::vector<std::string>& hypotheses, const std::vector<std::string>& references);

/// e^(negative log-likelihood / tokens), the former in nats, summed over tokens. Throws kInvalidArgument for no tokens and for a sum that is not finite.
double perplexity(double negative_log_likelihood, int64_t tokens);

}  // namespace clearhead::metrics
