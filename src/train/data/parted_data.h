// Labelled texts that are parted here, not by their files.
//
//   folds      every line of all files, by a hash of its text: one fold tests, the next one validates or trains, the others train. Texts that occur
//              twice are in one fold, and a line stays in its fold whatever the other lines are.
//   passages   of books: whole sentences one after another until there are so many words; the label is the book. What tells a book
//              without being read is taken out: headings, the lines that name who speaks in a play, and the typist's quotation
//              marks and dashes. With "names" so is every name: a word that its book never writes without a capital, but "I".
#pragma once

#include <string>
#include <vector>

#include "train/data/input_data.h"
#include "train/recipe.h"

namespace clearhead {

/// The lines of one of TaskRecipe::kParts. Throws what reading the files throws.
std::vector<LabelledLine> read_fold(const std::string& part, const Recipe& recipe, LeftOut* left_out = nullptr);
/// The digest (base/hash.h) of a line's texts, with line breaks between: modulo the number of folds, its fold.
uint64_t hash_of(const LabelledLine& line);

/// The passages of one of TaskRecipe::kParts, in the order of files. Throws kNotFound with the file and its origin, kFormat
/// for a wrong table of splits.
std::vector<LabelledInput> read_passages(const std::string& part, const Recipe& recipe);

}  // namespace clearhead
