// Labelled data sets that this code splits into training, validation and test data.
//
//   folds      Every line of all files is assigned to a fold by a hash of its text. One fold is for testing, the next one for
//              validation or training, the others for training. Equal texts are in the same fold, and the fold of a line does not
//              depend on the other lines.
//   passages   Passages of books: whole sentences until a minimum number of words is reached; the label is the book. Clues that
//              identify a book without reading it are removed: headings, lines that name the speaker in a play, and the typist's
//              quotation marks and dashes (which are normalised). With "names", every name is replaced: a word, except "I", that
//              its book never writes without a capital letter.
#pragma once

#include <string>
#include <vector>

#include "tasks/data/input_data.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {

/// The lines of one split, a name in TaskRecipe::kParts. Throws whatever reading the files throws.
std::vector<LabelledLine> read_fold(const std::string& part, const Recipe& recipe, LeftOut* left_out = nullptr);
/// The digest (base/hash.h) of a line's texts, joined with line breaks. The line's fold is this digest modulo the number of folds.
uint64_t hash_of(const LabelledLine& line);

/// The passages of one split, a name in TaskRecipe::kParts, in the order of files. Throws kNotFound with the file and its origin,
/// kFormat for an invalid table of splits.
std::vector<LabelledInput> read_passages(const std::string& part, const Recipe& recipe);

}  // namespace clearhead::tasks
