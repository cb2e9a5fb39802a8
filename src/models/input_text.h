// Encodes the texts of an input, and describes them as the items of its maps.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/observer.h"
#include "clearhead/tokenizer.h"
#include "models/encoded_input.h"
#include "models/network.h"

namespace clearhead {

/// Several texts as one group. Texts without a token are left out. Throws kInvalidArgument, with `what` a text is, if none has a token;
/// kNotFound without a tokenizer.
EncodedSide encode_group(const NetworkFacts& facts, const Tokenizer* tokenizer, const std::vector<std::string>& texts, const char* what);
/// One text. Throws as encode_group().
EncodedSide encode_one(const NetworkFacts& facts, const Tokenizer* tokenizer, const std::string& text, const char* what);

/// Removes the first elements until `most` are left; 0: all stay.
template <class One>
void keep_latest(std::vector<One>& of, int64_t most) {
  if (const auto over = static_cast<int64_t>(of.size()) - most; most > 0 && over > 0) of.erase(of.begin(), of.begin() + over);
}

/// Appends the tokens of one more text, and a line break.
void append_text(RunText& to, const NetworkFacts& facts, const Tokenizer* tokenizer, const std::string& text);
/// Appends several texts. Returns the bytes of those that have a token.
std::vector<std::array<int64_t, 2>> append_texts(RunText& to, const NetworkFacts& facts, const Tokenizer* tokenizer,
                                                 const std::vector<std::string>& texts);
/// Adds items that are no tokens, named "KIND 1", "KIND 2", … (a single one: "KIND"), with the bytes of the text that each stands for.
void add_items(RunText& to, const std::string& kind, const std::vector<std::array<int64_t, 2>>& bytes);
void add_item(RunText& to, const std::string& name, std::array<int64_t, 2> bytes = {});

/// Splits a text into sentences: at line breaks, and where ., ! or ? is followed by a space.
std::vector<std::string> sentences_of(const std::string& text);

}  // namespace clearhead
