// Windows of lines: at most 8192 lines or 8 MiB, read from a text, a file or standard input, answered together and printed in the text's order.
// A line ends at \n or \r\n. The fraction done is known where the text has a size.
#include "cli/lines.h"

#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "base/format.h"

namespace clearhead::cli {
namespace {

constexpr size_t kWindowLines = 8192, kWindowBytes = size_t{8} << 20;  // enough that lines of one length fill batches

class Source {
 public:
  explicit Source(const TextArguments& text) {
    if (!text.given()) usage_error("give a text, --file, or - for standard input");
    if (text.has_text && !text.file.empty()) usage_error("give the text or --file, not both");
    if (text.is_standard_input()) return;
    if (text.has_text) {
      typed_.str(text.text);
      from_ = &typed_;
      return;
    }
    std::error_code unknown;
    if (std::filesystem::is_directory(text.file, unknown)) fail(ErrorCode::kIo, "{}: is a folder; expected a text", text.file);
    file_.open(text.file);
    if (!file_) fail(ErrorCode::kNotFound, "{}: cannot be read", text.file);
    const std::uintmax_t size = std::filesystem::is_regular_file(text.file, unknown) ? std::filesystem::file_size(text.file, unknown) : 0;
    if (!unknown) size_ = static_cast<double>(size);
    from_ = &file_;
  }
  bool next(std::vector<std::string>& lines) {
    lines.clear();
    size_t bytes = 0;
    for (std::string line; lines.size() < kWindowLines && bytes < kWindowBytes && std::getline(*from_, line);) {
      bytes += line.size() + 1;
      if (!line.empty() && line.back() == '\r') line.pop_back();
      lines.push_back(std::move(line));
    }
    before_ = read_;
    read_ += static_cast<double>(bytes);
    if (from_->bad()) fail(ErrorCode::kIo, "the text cannot be read further than byte {:.0f}", read_);
    return !lines.empty();
  }
  bool has_size() const { return size_ > 0; }
  /// Of the whole text, with so much of this window done.
  double fraction(double of_window) const { return (before_ + (read_ - before_) * of_window) / size_; }

 private:
  std::istream* from_ = &std::cin;
  std::istringstream typed_;
  std::ifstream file_;
  double size_ = 0, before_ = 0, read_ = 0;
};

}  // namespace

void each_window(const TextArguments& text, const char* what, const Interventions& interventions,
                 const std::function<std::vector<std::string>(const Window&)>& answer) {
  Source source(text);
  Progress progress(what);
  const std::function<void(double)> shown = source.has_size() ? progress.callback() : nullptr;
  size_t first = 1;
  Window window;
  window.options.interventions = interventions;
  window.options.name = [&first](size_t index) { return format("line {}", first + index); };
  if (shown) window.options.progress = [&](double fraction) { shown(source.fraction(fraction)); };
  while (source.next(window.lines)) {
    std::string out;
    for (const std::string& line : answer(window)) out += line + "\n";
    print_whole(out);
    first += window.lines.size();
  }
}

}  // namespace clearhead::cli
