// Tokens beside the model's vocabulary: found in the text as they are spelled, before any word is cut.
//
// Of the tokens that begin at a place the longest is taken, from left to right; `normalized` ones are looked for after normalization,
// in their own normalized spelling. Matching walks a trie from each place where some token begins.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace clearhead::text {

struct AddedToken {
  int32_t id = 0;
  std::string content{};
  bool is_special = false, is_single_word = false, strips_left = false, strips_right = false, is_normalized = false;
};

std::vector<AddedToken> read_added_tokens(const Json& json, std::string_view where);

/// A stretch of the text: an added token, or what lies between (id −1). Never empty; together they cover the text.
struct Found {
  size_t begin, end;
  int32_t id;
};

class AddedTokenMatcher {
 public:
  AddedTokenMatcher() : nodes_(1) {}
  void add(std::string_view spelling, const AddedToken& token);
  bool empty() const { return tokens_.empty(); }
  std::vector<Found> find(std::string_view text) const;

 private:
  struct Node {
    std::vector<std::pair<unsigned char, uint32_t>> children;  // ascending
    int32_t token = -1;                                        // index into tokens_
  };
  uint32_t child(uint32_t node, unsigned char byte) const;
  int32_t longest_at(std::string_view text, size_t at, size_t* end) const;

  std::vector<Node> nodes_;
  std::vector<AddedToken> tokens_;
  bool begins_[256] = {};
};

}  // namespace clearhead::text
