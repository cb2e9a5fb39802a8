// Noise on texts, for training and for measuring how robust a model is.
//
//   typos           every n-th word of two or more letters has one typo: two neighbouring letters swapped, or a letter
//                   dropped, doubled, or replaced by a neighbouring key (QWERTY)
//   case            all letters upper case, or all lower case
//   truncation      only the first words
//   distractor      a sentence before or after the text
//   token dropout   each token of the text is dropped at random
//
// The random choices for word j or token t depend on the seed and on j or t only (base/random.h), so they are the same on
// every machine and after every resumption. Texts must be valid UTF-8. A word is a run of letters and the marks on them.
// Sources: Belinkov & Bisk 2018 (swaps, keys); Jia & Liang 2017 (distractors).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/tokenizer.h"

namespace clearhead {

/// Bytes [begin, end) of a text are at byte `at` of the changed text, with the same length; their case may differ.
struct KeptBytes {
  int64_t begin = 0, end = 0, at = 0;
};

struct ChangedText {
  std::string text{};
  std::vector<KeptBytes> kept{};  // ascending
};

/// share: share of the words that get a typo. 0.1 is every tenth word, starting at a word that the seed chooses.
ChangedText with_typos(std::string_view text, double share, uint64_t seed);
ChangedText in_upper_case(std::string_view text);
ChangedText in_lower_case(std::string_view text);
/// The text up to the end of its ⌈share · words⌉-th word. Here, words are separated by white space.
ChangedText first_words(std::string_view text, double share);
ChangedText with_distractor(std::string_view text, std::string_view sentence, bool before);

/// Indices of the tokens that stay: special tokens always, each other token with probability 1 − share. If all others
/// would be dropped, one of them stays.
std::vector<size_t> tokens_kept(const Encoding& encoding, double share, uint64_t seed);
/// The encoding of these tokens only.
Encoding selected(const Encoding& encoding, const std::vector<size_t>& tokens);

/// The field "noise" of a recipe.
struct Noise {
  double share = 1;             // share of the texts that get noise; the others stay as they are
  double typos = 0;             // share of the words of such a text
  double upper = 0, lower = 0;  // shares of such texts
  double token_dropout = 0;     // share of the tokens of such a text
  bool any() const { return share > 0 && (typos > 0 || upper > 0 || lower > 0 || token_dropout > 0); }
};

/// Adds noise to a text (or pair) and encodes it. Each example needs a seed of its own.
Encoding noisy_encoding(const Tokenizer& tokenizer, const std::string& text, const std::string& pair, const Noise& noise, uint64_t seed);

}  // namespace clearhead
