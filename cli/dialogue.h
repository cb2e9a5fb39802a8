// Dialogues: what an encoder-decoder reads before it says the next turn, how well a candidate follows, and what --test measures of it.
#pragma once

#include <string>
#include <vector>

#include "clearhead/answers.h"
#include "clearhead/model.h"
#include "train/recipe.h"

namespace clearhead::cli {

/// Turns joined by line breaks (text/turns.h), and their tokens.
struct ReadTurns {
  std::string text{};
  Encoding encoding{};
};
/// As many of the last turns as the model has positions for. Throws kTooLong where the last one alone has too many tokens.
ReadTurns encoded_turns(const Model& model, std::string joined);

/// ln p of each turn, its end included, with no turn before it. 0 for a model whose tokenizer makes no token of an empty text.
std::vector<double> priors_of(const Model& model, const std::vector<Encoding>& turns, const BatchOptions& options = {});

/// How well turn i follows the turns of source i: (ln p(turn | source) − its prior) / tokens. Without the prior, turns that are likely anywhere win.
std::vector<double> ratings_of(const Model& model, const std::vector<Encoding>& sources, const std::vector<Encoding>& turns,
                               const std::vector<double>& priors, const BatchOptions& options = {});

/// Perplexity of the next turn, and how often it is rated best among ten: itself, and nine turns of other dialogues, drawn by the recipe's seed.
void measure_dialogues(const Recipe& recipe, const Model& model, bool json);

}  // namespace clearhead::cli
