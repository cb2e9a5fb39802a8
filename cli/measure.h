// Scores of a model on a text, in nats and bits; and clearhead train RECIPE --test MODEL, which measures a model on the recipe's
// held-out test data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/tokenizer.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::cli {

double bits_per_byte(double nats, double bytes);

/// Negative log-likelihood and bytes of tokens [begin, end) of a text.
struct Scored {
  int64_t begin = 0, end = 0, bytes = 0;
  double nats = 0;
  double per_token() const { return nats / static_cast<double>(end - begin); }
  double bits_per_byte() const { return cli::bits_per_byte(nats, static_cast<double>(bytes)); }
};
/// log_probabilities: those of the tokens after token `from`, which was given.
Scored sum_of(const Encoding& encoding, const std::vector<float>& log_probabilities, int64_t begin, int64_t end, int64_t from = 0);

/// Warns on stderr if the references are in a language written without spaces: BLEU's 13a tokenizer takes each such sentence for
/// one word. remedy: the option to set, like "--tokenize zh".
void warn_of_words(const std::vector<std::string>& references, BleuWords words, const std::string& remedy);

/// Measures `model` on the recipe's test data and prints the result. Texts: bits per byte, each text in one pass. Pairs: BLEU or
/// ROUGE with beam search. Sounds: word error rate, and how often attention does not move backwards. Other tasks: their own
/// metrics. Throws kInvalidArgument if the recipe has no test data.
void measure(const tasks::Recipe& recipe, const std::string& model, bool json);

}  // namespace clearhead::cli
