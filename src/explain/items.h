// Items of a text: groups of removable tokens that are removed together and get one share.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "explain/attribution_target.h"

namespace clearhead::explain {

/// The target's tokens grouped into words; single tokens if the model labels every token (ModelInfo::tags_words is false).
///   word_of_id: the word of each id, −1 for none
std::vector<Range> items_of_words(const AttributionTarget& target, const std::vector<int32_t>& word_of_id);
/// The segments of a text that units can be made of, in ascending order. Throws kInvalidArgument if there are fewer than two, kUnsupported
/// for an input that consists of items of its own.
std::vector<TextSegment> segments_as_units(const RunText& text);
/// Makes the ascending `segments` the items of the target, and returns their names. An item reaches from the first removable token of its
/// segment to the last. A segment without removable tokens has no item, and tokens outside the segments belong to none.
std::vector<std::string> group_by_segments(AttributionTarget& target, const std::vector<TextSegment>& segments);
/// The bytes of the text from an item's first token to its last.
std::array<int64_t, 2> bytes_of_item(const AttributionTarget& target, const Range& item);
/// Flags the items that have a token overlapping one of these byte ranges.
std::vector<uint8_t> items_in_bytes(const AttributionTarget& target, const std::vector<std::array<int64_t, 2>>& stretches);
/// The sentences of the text (sentences_of() in models/input_text.h) that contain a removable token.
std::vector<Range> items_of_sentences(const AttributionTarget& target);

}  // namespace clearhead::explain
