// Which word each token of a text belongs to, so that what pieces of a word receive can be added up.
#pragma once

#include <cstdint>
#include <vector>

#include "clearhead/observer.h"

namespace clearhead {

/// Index of the word each token belongs to, −1 for special tokens. Words are runs of letters and digits (an apostrophe
/// between letters joins), single ideographs, single marks.
std::vector<int32_t> words_of(const RunText& text);

/// Whether a token of the text, other than a special one, has no bytes of it: an inserted "▁".
bool is_without_text(const RunText& text, size_t id);

}  // namespace clearhead
