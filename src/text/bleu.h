// Corpus BLEU (Papineni et al. 2002), equal to sacrebleu's in every digit: one reference, case kept, words split as by
// mteval-v13a (the default) or by sacrebleu's tokenisers `zh` and `char`.
//
//   BLEU = BP · exp(¼ Σ_n ln p_n)      p_n = 100 · matched_n / total_n, n = 1 … 4
//   BP = min(1, e^(1 − reference length / hypothesis length))
//
// matched_n counts the n-grams of a sentence that also occur in its reference, each at most as often as there; sums are
// over all sentences. The k-th order without a match has p_n = 100 / (2^k · total_n) (smoothing method 3 of
// Chen & Cherry 2014). Without any match the score is 0.
// Source: Post 2018, "A Call for Clarity in Reporting BLEU Scores".
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace clearhead {

/// Tokenisers that split sentences into words, as in sacrebleu.
enum class BleuWords {
  /// 13a: words are separated by white space. An ASCII punctuation mark is a word of its own, except an apostrophe, a period or comma
  /// between digits, and a hyphen that does not follow a digit.
  kMteval13a,
  /// zh: each Chinese character is a word, also each full-width sign, typographic quote and dash; the rest is split by the
  /// rules of 13a.
  kChinese,
  /// char: each character except white space is a word.
  kCharacters,
};

/// Returns the tokeniser of a name (13a, zh, char), or nothing for another name.
std::optional<BleuWords> bleu_words_named(std::string_view name);

/// The settings of a score in sacrebleu's format: "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp".
std::string bleu_signature(BleuWords words = BleuWords::kMteval13a);

struct Bleu {
  double score = 0;                           // 0 … 100
  std::array<int64_t, 4> matched{}, total{};  // n-grams, n = 1 … 4
  std::array<double, 4> precisions{};         // p_n, smoothed
  double brevity_penalty = 0;
  int64_t hypothesis_length = 0, reference_length = 0;  // words
};

/// Scores hypothesis i against reference i. Invalid UTF-8 is read as U+FFFD. Throws kInvalidArgument if the numbers
/// of sentences differ.
Bleu bleu(const std::vector<std::string>& hypotheses, const std::vector<std::string>& references, BleuWords words = BleuWords::kMteval13a);

/// Computes the score from counts that were summed over sentences, for bootstrap resampling (Koehn 2004). Reads `matched`,
/// `total` and both lengths.
Bleu bleu_of(const Bleu& sums);

/// The words of a sentence as BLEU counts them, joined with spaces.
std::string bleu_words(std::string_view sentence, BleuWords words = BleuWords::kMteval13a);

}  // namespace clearhead
