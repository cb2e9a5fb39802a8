// Builds the RunText that the observer of a run receives.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "clearhead/tokenizer.h"

namespace clearhead {

/// The text and the tokens of an encoding.   given: the text, pair: the second text; without them, the text is reconstructed
/// from the tokens
RunText run_text(const Encoding& encoding, const Tokenizer* tokenizer, const std::optional<std::string>& given = {},
                 const std::optional<std::string>& pair = {});
/// A generated text as the input of one run over the whole text: the decoder's first token, then the generated tokens.
struct WrittenText {
  Encoding encoding{};
  std::string text{};
};
WrittenText written_text(int32_t first, const std::vector<int32_t>& ids, const Tokenizer* tokenizer);
/// Concatenates two texts, with the segments "source" and "target".
RunText joined(RunText source, const RunText& target);
/// The segments in ascending order, without overlap: of two that overlap, the earlier one keeps the tokens. Empty segments are left out.
std::vector<TextSegment> disjoint_segments(std::vector<TextSegment> segments);

}  // namespace clearhead
