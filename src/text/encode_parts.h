// A long text encoded part by part: the tokens of Tokenizer::encode, in the memory of a part.
//
// Windows of the text overlap. A tokenizer forgets what stands far before: where two windows agree on every token in the middle of their overlap, the text goes on
// in the later one. Where they do not (one word without an end), the window grows, up to the whole text.
#pragma once

#include <functional>
#include <string_view>

#include "clearhead/tokenizer.h"

namespace clearhead::text {

/// Calls `take` with consecutive parts of the text's encoding; offsets count in the whole text.
void encode_parts(const Tokenizer& tokenizer, std::string_view text, bool add_special_tokens,
                  const std::function<void(const Encoding& part)>& take, size_t window = size_t{1} << 20, size_t overlap = size_t{1} << 16);

}  // namespace clearhead::text
