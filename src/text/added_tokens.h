// Added tokens, in addition to the model's vocabulary. They are found in the text by their spelling, before the text is
// split into words.
//
// Matching goes from left to right and finds the longest token at each position, with a trie. Tokens marked `normalized`
// are searched after normalization, in their normalized spelling.
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

/// A range of the text: an added token, or the text between two of them (id −1). Never empty; together
/// they cover the text.
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
