// A vocabulary of whole words, such as the items of users: every different word between blanks is one token. Nothing is trained.
#pragma once

#include <string>
#include <vector>

namespace clearhead {

/// The tokenizer.json of the words of these texts: [UNK] for all other words, then the words in descending order of their counts, equal
/// counts in order of their bytes. Throws kInvalidArgument for texts without a word.
std::string word_tokenizer_json(const std::vector<std::string>& texts);

}  // namespace clearhead
