// Word and character error rates, equal to jiwer, and perplexity.
//
//   rate = (substitutions + insertions + deletions) / (hits + substitutions + deletions)
//     counts of a shortest edit (Levenshtein 1966), summed over all sentences
//
// The rate may exceed 1. If the references contain no words, it is the number of insertions, as in jiwer. Where there are
// several shortest edits, the counts are those of jiwer's alignment (rapidfuzz). For texts of thousands of items rapidfuzz
// splits the work and could choose another edit (none seen up to 6,000 characters).
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

/// Words are separated by single spaces (U+0020) and by runs of two or more white-space characters of any kind; a single
/// tab does not separate. Case and punctuation count. Invalid UTF-8 is read as U+FFFD. Memory: a byte for each pair of items
/// of one sentence. Throws kInvalidArgument if the numbers of sentences differ, and without sentences.
ErrorRate word_error_rate(const std::vector<std::string>& hypotheses, const std::vector<std::string>& references);

/// The same over characters: code points, including white space inside a sentence.
ErrorRate character_error_rate(const std::vector<std::string>& hypotheses, const std::vector<std::string>& references);

/// e^(negative_log_likelihood / tokens). negative_log_likelihood: in nats, summed over the tokens. Throws kInvalidArgument
/// without tokens and for a sum that is not finite.
double perplexity(double negative_log_likelihood, int64_t tokens);

}  // namespace clearhead::metrics
