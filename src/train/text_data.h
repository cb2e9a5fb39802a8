// Texts as one row of tokens, cut into windows. Which windows a step sees follows from the seed and the step's number alone: there is no state to lose.
//
// Each epoch shuffles windows of length + 1 tokens that start at a random offset of their own; the last token of one is the first of the next.
//
// Repeats teach to copy: in a share of the windows a passage is followed, somewhere later, by itself. Some of these passages are random tokens, which nothing
// but their repetition foretells: they count as targets only where they come again.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/hash.h"
#include "clearhead/tokenizer.h"

namespace clearhead {

enum class Part : uint8_t { kTrain, kValid, kTest };

/// Text files and how each is parted. With `splits`, a table in the folder: after a line of headings, a file's name and six byte positions, the begins and ends of
/// its three parts, between tabs. Without: the last `held_out` of each file validates, from a line's begin on, and nothing tests. Of a file of JSON lines
/// (json_lines.h) whole lines go into a part; its text is theirs, each with a line's end after it.
struct TextSource {
  std::string folder{};
  std::vector<std::string> files{};
  std::string origin{};  // told where a file is missing
  std::string splits{};
  double held_out = 0.05;
  std::vector<std::string> fields{};  // of JSON lines: those that are read
};
/// A file of the folder. Throws kNotFound naming it and its origin.
std::shared_ptr<MappedFile> open_source(const TextSource& source, const std::string& name);
/// One part of each file. Throws kNotFound naming a file and its origin, kFormat for a table or a line that is wrong.
std::vector<std::string> read_part(const TextSource& source, Part part);

struct Repeats {
  int64_t from = 0;                    // the first step
  double share = 0;                    // of the windows
  int64_t shortest = 8, longest = 64;  // tokens of a passage
  int64_t apart = 0;                   // tokens from where it begins to where it begins again, at most; 0: as many as there are
  bool fills = false;                  // it comes again and again, to the window's end
  double random = 0.5;                 // the share of passages that are random tokens
};

class TextData {
 public:
  /// Holds 4 bytes a token; while it reads, besides them, what a part of a text takes to encode.
  TextData(const std::vector<std::string>& texts, const Tokenizer& tokenizer);

  int64_t tokens() const { return static_cast<int64_t>(ids_.size()); }
  int64_t bytes() const { return bytes_; }
  void add_to(Digest& digest) const { digest.add(ids_.data(), ids_.size() * sizeof(int32_t)); }

  struct Batch {
    std::vector<int32_t> ids{}, targets{};  // [rows·length]
  };
  struct Order {
    uint64_t seed = 0;
    int64_t length = 0;  // of a window
    Repeats repeats{};
  };
  /// Windows [first, first + rows) of the endless shuffled sequence. Throws kInvalidArgument where the text is shorter than one window.
  Batch shuffled(const Order& order, int64_t first, int64_t rows) const;
  /// Windows of the text in order, one after another; at most `most` of them.
  std::vector<Batch> in_order(int64_t length, int64_t most) const;

 private:
  void append(Batch& to, int64_t begin, int64_t length) const;
  void repeat(Batch& in, const Order& order, int64_t window) const;
  std::vector<int32_t> ids_{};
  int64_t bytes_ = 0;
  mutable std::vector<int64_t> order_{};  // of one epoch
  mutable int64_t epoch_ = -1, ordered_length_ = 0;
  mutable uint64_t ordered_seed_ = 0;
};

}  // namespace clearhead
