// Encodes a long text in parts: the same tokens as Tokenizer::encode, with memory for one part only.
//
// Windows of the text overlap. Tokens do not depend on text far before them, so if two windows agree on every token in the
// middle of their overlap, encoding continues in the later one. If they disagree (one very long word), the window grows,
// up to the whole text.
#pragma once

#include <functional>
#include <string_view>

#include "clearhead/tokenizer.h"

namespace clearhead::text {

/// Calls `take` with consecutive parts of the encoding; offsets count from the start of the whole text.
void encode_parts(const Tokenizer& tokenizer, std::string_view text, bool add_special_tokens,
                  const std::function<void(const Encoding& part)>& take, size_t window = size_t{1} << 20, size_t overlap = size_t{1} << 16);

}  // namespace clearhead::text
