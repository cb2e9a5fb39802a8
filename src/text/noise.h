// Noise on texts: the same changes for measuring how robust a model is and for training on them.
//
//   typos           every n-th word of two letters or more has one: two neighbours swapped, a letter left out, doubled, or struck one key beside (QWERTY)
//   case            all letters large, or all small
//   truncation      the first words alone
//   distractor      a sentence before or after
//   token dropout   each token of the text is left out by chance
//
// What is drawn for word j or token t depends on the seed and its number only (base/random.h): the same on every machine and at every resumption. Texts must be valid
// UTF-8. A word is a run of letters and the marks on them. Sources: Belinkov & Bisk 2018 (swaps, keys); Jia & Liang 2017 (distractors).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/tokenizer.h"

namespace clearhead {

/// Bytes [begin, end) of a text stand at byte `at` of the changed one, as long as before; their case may differ.
struct KeptBytes {
  int64_t begin = 0, end = 0, at = 0;
};

struct ChangedText {
  std::string text{};
  std::vector<KeptBytes> kept{};  // ascending
};

/// share: of the words; 0.1 is every tenth, from a place that the seed chooses.
ChangedText with_typos(std::string_view text, double share, uint64_t seed);
ChangedText in_upper_case(std::string_view text);
ChangedText in_lower_case(std::string_view text);
/// The first ⌈share · words⌉ of what blanks separate.
ChangedText first_words(std::string_view text, double share);
ChangedText with_distractor(std::string_view text, std::string_view sentence, bool before);

/// Tokens that stay: special ones always, each other one with probability 1 − share; one stays where all would go.
std::vector<size_t> tokens_kept(const Encoding& encoding, double share, uint64_t seed);
/// These tokens alone.
Encoding selected(const Encoding& encoding, const std::vector<size_t>& tokens);

/// What a recipe trains on ("noise").
struct Noise {
  double share = 1;             // of the texts: the others stay as they are
  double typos = 0;             // of the words of such a text
  double upper = 0, lower = 0;  // of such texts
  double token_dropout = 0;     // of the tokens of such a text
  bool any() const { return share > 0 && (typos > 0 || upper > 0 || lower > 0 || token_dropout > 0); }
};

/// A text (or pair) with noise, encoded. `seed` is the example's own.
Encoding noisy_encoding(const Tokenizer& tokenizer, const std::string& text, const std::string& pair, const Noise& noise, uint64_t seed);

}  // namespace clearhead
