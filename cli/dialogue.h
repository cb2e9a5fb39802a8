// Dialogues for encoder-decoders: the source of the next turn, ratings of candidate turns, and the measurements of --test.
#pragma once

#include <string>
#include <vector>

#include "clearhead/answers.h"
#include "clearhead/model.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::cli {

/// Turns joined by line breaks (text/turns.h), and their tokens.
struct ReadTurns {
  std::string text{};
  Encoding encoding{};
};
/// Encodes as many of the last turns as fit the model's positions. Throws kTooLong if the last turn alone has too many tokens.
ReadTurns encoded_turns(const Model& model, std::string joined);

/// ln p of each turn, including its end token, given an empty source. 0 if the tokenizer encodes an empty text as no tokens.
std::vector<double> priors_of(const Model& model, const std::vector<Encoding>& turns, const BatchOptions& options = {});

/// The rating of turn i as an answer to source i: (ln p(turn | source) − prior) / tokens. Without the prior, generic turns would win.
std::vector<double> ratings_of(const Model& model, const std::vector<Encoding>& sources, const std::vector<Encoding>& turns,
                               const std::vector<double>& priors, const BatchOptions& options = {});

/// Prints the perplexity of the next turn, and how often it is rated best of ten: the other nine are turns of other dialogues,
/// drawn with the recipe's seed.
void measure_dialogues(const tasks::Recipe& recipe, const Model& model, bool json);

}  // namespace clearhead::cli
