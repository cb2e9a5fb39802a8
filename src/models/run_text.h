// The words of a run, as its observer receives them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "clearhead/tokenizer.h"

namespace clearhead {

/// The tokens of a text as words.   given: the text, if known; pair: the second text
RunText run_text(const Encoding& encoding, const Tokenizer* tokenizer, const std::optional<std::string>& given = {},
                 const std::optional<std::string>& pair = {});
/// A text that a model wrote, as the input of one run over all of it: the first token, then these.
struct WrittenText {
  Encoding encoding{};
  std::string text{};
};
WrittenText written_text(int32_t first, const std::vector<int32_t>& ids, const Tokenizer* tokenizer);
/// Two texts as one, with the segments "source" and "target".
RunText joined(RunText source, const RunText& target);

}  // namespace clearhead
