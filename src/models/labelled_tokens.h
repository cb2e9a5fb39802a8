// The tokens of a text whose labels are answers of a model that labels tokens.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "clearhead/model.h"
#include "clearhead/observer.h"
#include "clearhead/tokenizer.h"

namespace clearhead {

/// True if a token continues the word of the previous token: the vocabulary marks it so, or letters and digits follow each other without a
/// gap.
bool continues_word(const Tokenizer& tokenizer, std::string_view text, const Encoding& encoding, size_t token);
/// True if the bytes are white space only: such a token of a vocabulary of bytes is no word.
bool is_space(std::string_view text, std::array<int64_t, 2> span);
/// The tokens that have a label of their own: neither special tokens nor white space, and, if words get the label of their first token
/// (ModelInfo::tags_words), no continuations of words.
std::vector<int64_t> labelled_tokens(const Model& model, const RunText& text);

}  // namespace clearhead
