// Text from files, pipes and standard input: UTF-8, without a byte order mark.
//
// "Text" means words for a model, a tokenizer or a person: a document, lines, a table of examples. A byte order mark is
// dropped, because a model would read it as a character. Other encodings are refused, and the error names the line of the
// first byte that is not UTF-8. A NUL byte is refused too: UTF-16 without a byte order mark is valid UTF-8 with many NULs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace clearhead {

/// The text in a file's bytes: a view of `bytes` without its byte order mark. `name` is the file's name for errors.
/// Throws kFormat, naming the line, for bytes that are not UTF-8 and for NUL.
std::string_view utf8_text(std::string_view bytes, const std::string& name);

/// Reads a text to its end: a file, a pipe, or standard input ("-"). Throws as read_file() and utf8_text().
std::string read_text_file(const std::string& path);

/// Reads a text line by line: lines from a pipe are available as they arrive, and only about one line is in memory.
class TextLines {
 public:
  /// path: a file, a pipe, or "-" for standard input. Throws kNotFound, or kIo for a folder.
  explicit TextLines(const std::string& path);
  /// The lines of a text in memory. `name` is its name in errors.
  TextLines(std::string name, std::string text) : name_(std::move(name)), bytes_(std::move(text)) {}
  ~TextLines();
  TextLines(const TextLines&) = delete;
  TextLines& operator=(const TextLines&) = delete;

  /// The next line, without its '\n' (a '\r' stays); false at the end. Throws as utf8_text(), and kIo.
  bool next(std::string& line);
  /// Number of the last line read, from 1.
  int64_t number() const { return number_; }

 private:
  bool read_more();

  std::string name_;
  std::string bytes_{};  // bytes read so far; those from begin_ on have not been returned yet
  size_t begin_ = 0;
  int descriptor_ = -1;  // −1: everything has been read
  int64_t number_ = 0;
};

}  // namespace clearhead
