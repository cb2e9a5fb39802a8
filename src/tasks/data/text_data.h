// Texts as one sequence of tokens, divided into windows. The windows of a step depend on the seed and the step's number
// only, so a checkpoint stores no reader state.
//
// Each epoch shuffles windows of length + 1 tokens that start at a random offset; the last token of a window is the
// first of the next.
//
// Repeats teach the model to copy: in a share of the windows, a passage is followed later by a copy of itself. Some of
// these passages are random tokens, which can be predicted only from their first occurrence; therefore only their copies
// count as targets.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/hash.h"
#include "clearhead/tokenizer.h"

namespace clearhead::tasks {

enum class Part : uint8_t { kTrain, kValid, kTest };

/// Text files, and how each is split into training, validation and test data. `splits` names a table in the folder: after a
/// heading line, each line has a file's name and six byte positions, the start and end of each of the three splits, separated by
/// tabs. Without it, the last part of each file (the fraction `held_out`, from the start of a line) is for validation, and there is
/// no test data.
/// A JSON lines file (json_lines.h) is split at whole lines; its text is the texts of the lines, each with a line end.
struct TextSource {
  std::string folder{};
  std::vector<std::string> files{};
  std::string origin{};                    // where the recipe's own files come from, for the error message if one is missing
  std::vector<std::string> given_files{};  // files from key=value settings instead of the recipe: the origin does not apply to them
  std::string splits{};
  double held_out = 0.05;
  std::vector<std::string> fields{};  // fields to read from JSON lines
};
/// The path of a file or folder in source.folder. Throws kNotFound with its name, and with the origin if it is a file
/// that the recipe names.
std::string existing_path(const TextSource& source, const std::string& name);
/// Opens a file of the folder. Throws as existing_path().
std::shared_ptr<MappedFile> open_source(const TextSource& source, const std::string& name);
/// A text of the folder: UTF-8, without its byte order mark.
struct SourceText {
  std::shared_ptr<MappedFile> file{};
  std::string_view text{};  // a view of `file`
  const std::string& path() const { return file->path(); }
};
/// Throws as open_source(), and kFormat, naming file and line, for another encoding.
SourceText open_text(const TextSource& source, const std::string& name);
/// The text of one split in each file. Throws kNotFound with the file and its origin, kFormat for an invalid table or line.
std::vector<std::string> read_part(const TextSource& source, Part part);

struct Repeats {
  int64_t from = 0;                    // first step with repeats
  double probability = 0;              // share of the windows
  int64_t shortest = 8, longest = 64;  // length of a passage in tokens
  int64_t max_distance = 0;            // maximum distance in tokens between the starts of passage and copy; 0: no limit
  bool repeat_to_end = false;          // repeat the passage up to the end of the window
  double random = 0.5;                 // share of passages that are random tokens
};

class TextData {
 public:
  /// Stores 4 bytes per token. Construction also needs memory to encode one chunk of a text.
  TextData(const std::vector<std::string>& texts, const Tokenizer& tokenizer);

  int64_t tokens() const { return static_cast<int64_t>(ids_.size()); }
  int64_t bytes() const { return bytes_; }
  void add_to(Digest& digest) const { digest.add(ids_.data(), ids_.size() * sizeof(int32_t)); }

  struct Batch {
    std::vector<int32_t> ids{}, targets{};  // [rows·length]
  };
  struct Order {
    uint64_t seed = 0;
    int64_t length = 0;  // length of a window in tokens
    Repeats repeats{};
  };
  /// Windows [first, first + rows) of the endless shuffled sequence. Throws kInvalidArgument if the text is
  /// shorter than one window.
  Batch shuffled(const Order& order, int64_t first, int64_t rows) const;
  /// The windows of the text in order; at most `most` of them.
  std::vector<Batch> in_order(int64_t length, int64_t most) const;

 private:
  void append(Batch& to, int64_t begin, int64_t length) const;
  void repeat(Batch& in, const Order& order, int64_t window) const;
  std::vector<int32_t> ids_{};
  int64_t bytes_ = 0;
  mutable std::vector<int64_t> order_{};  // the order of windows in epoch_
  mutable int64_t epoch_ = -1, ordered_length_ = 0;
  mutable uint64_t ordered_seed_ = 0;
};

}  // namespace clearhead::tasks
