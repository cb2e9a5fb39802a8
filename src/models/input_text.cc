// Converts texts to sequences of token ids, and to the words and items of a run.
#include "models/input_text.h"

#include <utility>

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead {
namespace {

const Tokenizer& needed(const Tokenizer* tokenizer) {
  if (!tokenizer) fail(ErrorCode::kNotFound, "the model reads text, but was loaded without a tokenizer");
  return *tokenizer;
}

// Adds the ids of a text, truncated to the network's maximum length. Adds nothing for a text without tokens.
void add_ids(const NetworkFacts& facts, const Tokenizer* tokenizer, const std::string& text, EncodedSide& to) {
  std::vector<int32_t> ids = needed(tokenizer).encode(text).ids;
  if (ids.empty()) return;
  if (facts.longest > 0 && static_cast<int64_t>(ids.size()) > facts.longest) {
    ids.resize(static_cast<size_t>(facts.longest));
    ++to.truncated;
  }
  to.sequences.push_back(std::move(ids));
}

}  // namespace

EncodedSide encode_group(const NetworkFacts& facts, const Tokenizer* tokenizer, const std::vector<std::string>& texts, const char* what) {
  EncodedSide out{.is_group = true};
  for (const std::string& text : texts) add_ids(facts, tokenizer, text, out);
  if (out.sequences.empty()) fail(ErrorCode::kInvalidArgument, "no {} contains a token", what);
  return out;
}

EncodedSide encode_one(const NetworkFacts& facts, const Tokenizer* tokenizer, const std::string& text, const char* what) {
  EncodedSide out;
  add_ids(facts, tokenizer, text, out);
  if (out.sequences.empty()) fail(ErrorCode::kInvalidArgument, "the {} contains no tokens", what);
  return out;
}

void append_text(RunText& to, const NetworkFacts& facts, const Tokenizer* tokenizer, const std::string& text) {
  const Encoding encoding = needed(tokenizer).encode(text);
  const auto shift = static_cast<int64_t>(to.text.size());
  to.text += text + "\n";
  for (size_t i = 0; i < encoding.size() && (facts.longest == 0 || static_cast<int64_t>(i) < facts.longest); ++i) {
    to.ids.push_back(encoding.ids[i]);
    const auto [begin, end] = encoding.offsets[i];
    to.offsets.push_back(begin == end ? std::array<int64_t, 2>{} : std::array{begin + shift, end + shift});
    to.special.push_back(encoding.is_special(i));
    to.pieces.emplace_back(tokenizer->token(encoding.ids[i]));
  }
}

std::vector<std::array<int64_t, 2>> append_texts(RunText& to, const NetworkFacts& facts, const Tokenizer* tokenizer,
                                                 const std::vector<std::string>& texts) {
  std::vector<std::array<int64_t, 2>> bytes;
  for (const std::string& one : texts) {
    const size_t tokens = to.ids.size();
    const auto begin = static_cast<int64_t>(to.text.size());
    append_text(to, facts, tokenizer, one);
    if (to.ids.size() > tokens) bytes.push_back({begin, static_cast<int64_t>(to.text.size()) - 1});
  }
  return bytes;
}

void add_item(RunText& to, const std::string& name, std::array<int64_t, 2> bytes) {
  to.ids.push_back(-1);
  to.offsets.push_back(bytes);
  to.special.push_back(0);
  to.pieces.push_back(name);
}

void add_items(RunText& to, const std::string& kind, const std::vector<std::array<int64_t, 2>>& bytes) {
  const auto begin = static_cast<int64_t>(to.ids.size());
  for (size_t at = 0; at < bytes.size(); ++at) add_item(to, bytes.size() == 1 ? kind : format("{} {}", kind, at + 1), bytes[at]);
  to.items.push_back({.kind = kind, .begin = begin, .end = static_cast<int64_t>(to.ids.size())});
}

std::vector<std::string> sentences_of(const std::string& text) {
  std::vector<std::string> out;
  std::string sentence;
  const auto end = [&] {
    const size_t begin = sentence.find_first_not_of(" \t\r");
    if (begin != std::string::npos) out.push_back(sentence.substr(begin));
    sentence.clear();
  };
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\n') {
      end();
      continue;
    }
    sentence += text[at];
    const bool closes = text[at] == '.' || text[at] == '!' || text[at] == '?';
    if (closes && at + 1 < text.size() && text[at + 1] == ' ') end();
  }
  end();
  return out;
}

}  // namespace clearhead
