// Which word each token of a text belongs to, so that what pieces of a word receive can be added up.
#pragma once

#include <cstdint>
#include <vector>

#include "clearhead/observer.h"

namespace clearhead {

/// Index of the word each token belongs to, −1 for special tokens. Words are runs of letters and digits (an apostrophe between letters
/// joins), single ideographs, single marks.
std::vector<int32_t> words_of(const RunText& text);

}  // namespace clearhead
