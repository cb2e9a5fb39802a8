// Texts as one row of tokens, cut into windows. Which windows a step sees follows from the seed and the step's number alone: there is no state to lose.
//
// Each epoch shuffles windows of length + 1 tokens that start at a random offset of their own; the last token of one is the first of the next.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/tokenizer.h"

namespace clearhead {

/// The parts [from, to) of each file, 0 ≤ from ≤ to ≤ 1, cut at line ends. Throws kNotFound naming the file and its origin.
std::vector<std::string> read_parts(const std::string& folder, const std::vector<std::string>& files, const std::string& origin,
                                    double from, double to);

class TextData {
 public:
  TextData(const std::vector<std::string>& texts, const Tokenizer& tokenizer);

  int64_t tokens() const { return static_cast<int64_t>(ids_.size()); }
  int64_t bytes() const { return bytes_; }

  struct Batch {
    std::vector<int32_t> ids{}, targets{};  // [rows·length]
  };
  /// Windows [first, first + rows) of the endless shuffled sequence. Throws kInvalidArgument where the text is shorter than one window.
  Batch shuffled(uint64_t seed, int64_t first, int64_t rows, int64_t length) const;
  /// Windows of the text in order, one after another; at most `most` of them.
  std::vector<Batch> in_order(int64_t length, int64_t most) const;

 private:
  void append(Batch& to, int64_t begin, int64_t length) const;
  std::vector<int32_t> ids_{};
  int64_t bytes_ = 0;
  mutable std::vector<int64_t> order_{};  // of one epoch
  mutable int64_t epoch_ = -1, ordered_length_ = 0;
  mutable uint64_t ordered_seed_ = 0;
};

}  // namespace clearhead
