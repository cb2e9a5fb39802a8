// Finds the first token of each word, from the offsets of the tokens.
#include "models/labelled_tokens.h"

#include <cctype>

namespace clearhead {

bool continues_word(const Tokenizer& tokenizer, std::string_view text, const Encoding& encoding, size_t token) {
  if (token == 0 || encoding.is_special(token - 1)) return false;
  const auto [begin, end] = encoding.offsets[token];
  if (begin != encoding.offsets[token - 1][1] || begin >= end) return false;
  if (tokenizer.token(encoding.ids[token]).starts_with("##")) return true;
  const auto is_word = [&](int64_t at) {
    const auto byte = static_cast<unsigned char>(text[static_cast<size_t>(at)]);
    return byte >= 0x80 || std::isalnum(byte);
  };
  return is_word(begin - 1) && is_word(begin);
}

bool is_space(std::string_view text, std::array<int64_t, 2> span) {
  const std::string_view bytes = text.substr(static_cast<size_t>(span[0]), static_cast<size_t>(span[1] - span[0]));
  return bytes.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

std::vector<int64_t> labelled_tokens(const Model& model, const RunText& text) {
  Encoding encoding;
  for (int64_t token = 0; token < text.tokens(); ++token) {
    const auto at = static_cast<size_t>(token);
    encoding.ids.push_back(text.ids[at]);
    encoding.offsets.push_back(text.offsets[at]);
    encoding.segment.push_back(text.special[at] ? Encoding::kSpecial : 0);
  }
  std::vector<int64_t> out;
  for (size_t token = 0; token < encoding.ids.size(); ++token) {
    if (encoding.is_special(token) || is_space(text.text, encoding.offsets[token])) continue;
    if (model.info().tags_words && continues_word(model.tokenizer(), text.text, encoding, token)) continue;
    out.push_back(static_cast<int64_t>(token));
  }
  return out;
}

}  // namespace clearhead
