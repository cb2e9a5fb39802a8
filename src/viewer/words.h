// Assigns tokens to words, so that the attention of a word's tokens can be added up.
#pragma once

#include <cstdint>
#include <vector>

#include "clearhead/observer.h"

namespace clearhead::viewer {

/// The index of the word that each token belongs to, −1 for special tokens. Words are runs of letters and digits (an apostrophe
/// between letters joins them), single ideographs and kana, single punctuation marks, and tokens of whitespace.
std::vector<int32_t> words_of(const RunText& text);

/// Returns true if a token that is not special covers no bytes of the text, such as an inserted "▁".
bool is_without_text(const RunText& text, size_t id);

}  // namespace clearhead::viewer
