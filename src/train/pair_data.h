// Pairs of texts, source → target, in batches of about one size. Which pairs a batch holds follows from the seed and its number alone.
//
//   encoder reads    the source's tokens, as the tokenizer ends a text           decoder reads    the first token, then the target's without the last
//   targets          the target's tokens, as the tokenizer ends a text
//
// Pairs stand sorted by length, cut where a batch would have more than `places` places on either side. Each epoch shuffles pairs of equal lengths
// among each other, and the batches.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/hash.h"
#include "clearhead/tokenizer.h"
#include "train/examples.h"

namespace clearhead {

struct Recipe;
struct TextPair {
  std::string source{}, target{};
};

/// The lines of a file of the recipe's folder, two texts between tabs; what follows a second tab is not read. Of JSON lines (json_lines.h) the recipe's two
/// fields. Throws kNotFound naming the file and its origin, kFormat naming the line.
std::vector<TextPair> read_pairs(const std::string& file, const Recipe& recipe);

class PairData {
 public:
  /// Pairs of which a side has more than the recipe's `length` tokens are left out.   first: what the decoder begins with
  PairData(const std::string& file, const Recipe& recipe, const Tokenizer& tokenizer, int32_t first);
  int64_t tokens() const { return static_cast<int64_t>(ids_.size()); }
  void add_to(Digest& digest) const;
  /// Batch `number` of the endless sequence. Throws kInvalidArgument where no pair is left.
  Example shuffled(uint64_t seed, int64_t number) const;
  /// All pairs once.
  std::vector<Example> in_order() const;

 private:
  struct Pair {
    int64_t begin = 0, source = 0, target = 0;  // of ids_: the source's tokens, then the target's
  };
  Example example_of(const std::vector<int64_t>& pairs, int64_t begin, int64_t end) const;
  int32_t first_;
  std::string none_{};  // why no pair is left, where none is
  std::vector<int32_t> ids_{};
  std::vector<Pair> pairs_{};                         // sorted by length
  std::vector<int64_t> begins_{};                     // of batches among the sorted pairs, and their end
  mutable std::vector<int64_t> order_{}, batches_{};  // of one epoch
  mutable int64_t epoch_ = -1;
};

}  // namespace clearhead
