// Matches added tokens with a trie over bytes: the longest match at each position, with each token's rules for the white
// space and the word boundaries around it.
#include "text/added_tokens.h"

#include <algorithm>

#include "base/format.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

namespace clearhead::text {

std::vector<AddedToken> read_added_tokens(const Json& json, std::string_view where) {
  std::vector<AddedToken> tokens;
  size_t index = 0;
  if (json.is_null()) return tokens;
  if (!json.is_array()) fail(ErrorCode::kFormat, "{}: \"added_tokens\": expected an array, found {}", where, json.describe());
  for (const Json& item : json.items()) {
    Fields fields(item, where, format("added_tokens[{}]", index++));
    AddedToken token;
    const int64_t id = fields.integer("id");
    if (id < 0 || id > Vocabulary::kMaximumId) fields.wrong("id", format("an integer from 0 to {}", Vocabulary::kMaximumId), Json(id));
    token.id = static_cast<int32_t>(id);
    token.content = fields.string("content");
    if (token.content.size() > 4096) fields.wrong("content", "at most 4096 bytes", Json(static_cast<int64_t>(token.content.size())));
    token.is_special = fields.boolean_or("special", false);
    token.is_single_word = fields.boolean_or("single_word", false);
    token.strips_left = fields.boolean_or("lstrip", false);
    token.strips_right = fields.boolean_or("rstrip", false);
    token.is_normalized = fields.boolean_or("normalized", !token.is_special);
    fields.refuse_rest();
    if (!token.content.empty()) tokens.push_back(std::move(token));
  }
  return tokens;
}

uint32_t AddedTokenMatcher::child(uint32_t node, unsigned char byte) const {
  const auto& children = nodes_[node].children;
  const auto at =
      std::lower_bound(children.begin(), children.end(), byte, [](const auto& edge, unsigned char value) { return edge.first < value; });
  return at != children.end() && at->first == byte ? at->second : 0;
}

void AddedTokenMatcher::add(std::string_view spelling, const AddedToken& token) {
  if (spelling.empty()) return;
  uint32_t node = 0;
  for (const char c : spelling) {
    const unsigned char byte = static_cast<unsigned char>(c);
    uint32_t next = child(node, byte);
    if (next == 0) {
      next = static_cast<uint32_t>(nodes_.size());
      nodes_.emplace_back();
      auto& children = nodes_[node].children;
      const auto at = std::lower_bound(children.begin(), children.end(), byte,
                                       [](const auto& edge, unsigned char value) { return edge.first < value; });
      children.insert(at, {byte, next});
    }
    node = next;
  }
  nodes_[node].token = static_cast<int32_t>(tokens_.size());
  begins_[static_cast<unsigned char>(spelling[0])] = true;
  tokens_.push_back(token);
}

int32_t AddedTokenMatcher::longest_at(std::string_view text, size_t at, size_t* end) const {
  int32_t token = -1;
  uint32_t node = 0;
  for (size_t k = at; k < text.size(); ++k) {
    node = child(node, static_cast<unsigned char>(text[k]));
    if (node == 0) break;
    if (nodes_[node].token >= 0) {
      token = nodes_[node].token;
      *end = k + 1;
    }
  }
  return token;
}

std::vector<Found> AddedTokenMatcher::find(std::string_view text) const {
  std::vector<Found> found;
  size_t given = 0;  // everything before is in `found`
  for (size_t at = 0; !tokens_.empty() && at < text.size();) {
    size_t end = 0;
    const int32_t index = begins_[static_cast<unsigned char>(text[at])] ? longest_at(text, at, &end) : -1;
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    size_t begin = at;
    at = end;  // matches do not overlap, even discarded ones
    if (token.is_single_word) {
      if (begin > 0 && is(decode_valid(text, previous_boundary(text, begin)).c, kWord)) continue;
      if (end < text.size() && is(decode_valid(text, end).c, kWord)) continue;
    }
    if (begin < given) continue;  // inside white space that the previous token has stripped
    while (token.strips_left && begin > given && is(decode_valid(text, previous_boundary(text, begin)).c, kSpace)) {
      begin = previous_boundary(text, begin);
    }
    while (token.strips_right && end < text.size() && is(decode_valid(text, end).c, kSpace)) end += decode_valid(text, end).length;
    if (given < begin) found.push_back({given, begin, -1});
    found.push_back({begin, end, token.id});
    given = end;
  }
  if (given < text.size()) found.push_back({given, text.size(), -1});
  return found;
}

}  // namespace clearhead::text
