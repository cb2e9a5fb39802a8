// Encodes the texts of an input, and describes their tokens and items for attention maps.
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

/// Encodes several texts as one group. Texts without a token are left out. Throws kInvalidArgument if no text has a token
/// (`what` names a text in the message, such as "sentence"), kNotFound without a tokenizer.
EncodedSide encode_group(const NetworkFacts& facts, const Tokenizer* tokenizer, const std::vector<std::string>& texts, const char* what);
/// Encodes one text. Throws as encode_group().
EncodedSide encode_one(const NetworkFacts& facts, const Tokenizer* tokenizer, const std::string& text, const char* what);

/// Keeps the last `most` elements; 0: keeps all.
template <class One>
void keep_latest(std::vector<One>& of, int64_t most) {
  if (const auto over = static_cast<int64_t>(of.size()) - most; most > 0 && over > 0) of.erase(of.begin(), of.begin() + over);
}

/// Appends a text and a line break, and the text's tokens up to the network's maximum length.
void append_text(RunText& to, const NetworkFacts& facts, const Tokenizer* tokenizer, const std::string& text);
/// Appends several texts. Returns the byte range of each text that has a token.
std::vector<std::array<int64_t, 2>> append_texts(RunText& to, const NetworkFacts& facts, const Tokenizer* tokenizer,
                                                 const std::vector<std::string>& texts);
/// Adds one item for each byte range of the text, named "KIND 1", "KIND 2", …; a single item is named "KIND".
void add_items(RunText& to, const std::string& kind, const std::vector<std::array<int64_t, 2>>& bytes);
/// Adds one item, without an ItemRange.
void add_item(RunText& to, const std::string& name, std::array<int64_t, 2> bytes = {});

/// Splits a text into sentences: at line breaks, and after ., ! or ? before a space.
std::vector<std::string> sentences_of(const std::string& text);

}  // namespace clearhead
