// What of a text is taken away as one, and gets one share: its tokens that may go, grouped.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "judge/subject.h"

namespace clearhead::judge {

/// The subject's tokens as words.   word_of_id: the word of each id, −1 for none
std::vector<Range> items_of_words(const Subject& subject, const std::vector<int32_t>& word_of_id);
/// An item for each stretch of bytes of the text that holds a token which may go; stretches ascend.
std::vector<Range> items_of_bytes(const Subject& subject, const std::vector<std::array<int64_t, 2>>& stretches);
/// The bytes of the text from an item's first token to its last.
std::array<int64_t, 2> bytes_of_item(const Subject& subject, const Range& item);
/// The items of which a token overlaps one of these stretches of bytes: a flag each.
std::vector<uint8_t> items_in_bytes(const Subject& subject, const std::vector<std::array<int64_t, 2>>& stretches);
/// The sentences of the text (reading.h), as items_of_bytes.
std::vector<Range> items_of_sentences(const Subject& subject);

}  // namespace clearhead::judge
