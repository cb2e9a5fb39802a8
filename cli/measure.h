// What a model is worth on a text, in nats and bits; and clearhead train RECIPE --test MODEL: on the part of a recipe's data that no training saw.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/tokenizer.h"
#include "train/recipe.h"

namespace clearhead::cli {

double bits_per_byte(double nats, double bytes);

/// Sums over tokens [begin, end) of a text.
struct Scored {
  int64_t begin = 0, end = 0, bytes = 0;
  double nats = 0;
  double per_token() const { return nats / static_cast<double>(end - begin); }
  double bits_per_byte() const { return cli::bits_per_byte(nats, static_cast<double>(bytes)); }
};
/// Of log probabilities of the tokens after token `from`, which was given.
Scored sum_of(const Encoding& encoding, const std::vector<float>& log_probabilities, int64_t begin, int64_t end, int64_t from = 0);

/// Says on stderr that BLEU of 13a words takes each of these sentences for one word, if they are in a language written without spaces.
/// remedy: what to set, as in "--tokenize zh"
void warn_of_words(const std::vector<std::string>& references, BleuWords words, const std::string& remedy);

/// Texts: bits a byte, each text read whole. Pairs: BLEU of beam search. Sounds: word errors, and how
/// far attention goes forward. Throws kInvalidArgument where the recipe names nothing to test on.
void measure(const Recipe& recipe, const std::string& model, bool json);

}  // namespace clearhead::cli
