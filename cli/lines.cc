// Reads lines from a text, a file or standard input in windows of at most 8192 lines or about 8 MiB, answers each window as a
// whole and prints the answers in input order. A line ends at \n or \r\n. Progress is reported if the input's size is known.
#include "cli/lines.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/format.h"
#include "base/text_file.h"
#include "cli/run_command.h"

namespace clearhead::cli {
namespace {

constexpr size_t kWindowLines = 8192, kWindowBytes = size_t{8} << 20;  // large enough that lines of similar length fill batches

class Source {
 public:
  explicit Source(const TextArguments& text) {
    if (!text.given()) usage_error("give a text, --file, or - for standard input");
    if (text.has_text && !text.file.empty()) usage_error("give the text or --file, not both");
    if (text.is_standard_input()) {
      lines_.emplace("-");
    } else if (text.has_text) {
      lines_.emplace("the text", text.text);
    } else {
      lines_.emplace(text.file);
      std::error_code unknown;
      const std::uintmax_t size = std::filesystem::is_regular_file(text.file, unknown) ? std::filesystem::file_size(text.file, unknown) : 0;
      if (!unknown) size_ = static_cast<double>(size);
    }
  }
  bool next(std::vector<std::string>& lines) {
    lines.clear();
    size_t bytes = 0;
    for (std::string line; lines.size() < kWindowLines && bytes < kWindowBytes && lines_->next(line);) {
      bytes += line.size() + 1;
      if (!line.empty() && line.back() == '\r') line.pop_back();
      lines.push_back(std::move(line));
    }
    before_ = read_;
    read_ += static_cast<double>(bytes);
    return !lines.empty();
  }
  bool has_size() const { return size_ > 0; }
  /// The fraction of the whole text that is done, given the fraction of this window.
  double fraction(double of_window) const { return (before_ + (read_ - before_) * of_window) / size_; }

 private:
  std::optional<TextLines> lines_;
  double size_ = 0, before_ = 0, read_ = 0;
};

// True for errors that concern one line only. Others, such as an unknown option or a model without the task, concern all lines.
bool is_of_one_line(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kTooLong:
    case ErrorCode::kFormat:
    case ErrorCode::kNotFound:
    case ErrorCode::kShape: return true;
    default: return false;
  }
}

// Answers windows. If a window is refused, it is bisected until the refused lines are found.
class Answers {
 public:
  Answers(TextCommandBase& command, const Model& model)
      : command_(command), model_(model), interventions_(command.interventions.interventions()), blank_(command.blank_line()) {}

  /// first: number of the window's first line, from 1.
  void window(const std::vector<std::string>& lines, size_t first, const std::function<void(double)>& progress) {
    lines_ = &lines, first_ = first, progress_ = progress;
    out_.clear(), refused_.clear();
    some(0, lines.size());
    if (first == 1 && all_alike()) throw Error(refused_.front());
    for (const Error& error : refused_) notice(error.what());
    all_refused_ += refused_.size();
    print_whole(out_);
  }

  /// Throws kInvalidArgument if lines were refused. count: the number of all lines.
  void finish(size_t count) const {
    if (all_refused_ > 0)
      fail(ErrorCode::kInvalidArgument, "{} of {} lines {} no answer", all_refused_, count, all_refused_ == 1 ? "has" : "have");
  }

 private:
  void some(size_t begin, size_t end) {
    std::optional<Error> refused;
    try {
      Window part{.lines = {lines_->begin() + static_cast<std::ptrdiff_t>(begin), lines_->begin() + static_cast<std::ptrdiff_t>(end)}};
      part.options.interventions = interventions_;
      part.options.name = [&](size_t index) { return format("line {}", first_ + begin + index); };
      if (progress_) {
        part.options.progress = [&](double fraction) {
          progress_((static_cast<double>(begin) + fraction * static_cast<double>(end - begin)) / static_cast<double>(lines_->size()));
        };
      }
      for (const std::string& line : command_.lines_for(model_, part)) out_ += line + "\n";
      return;
    } catch (const Error& error) {
      if (!is_of_one_line(error)) throw;
      refused = error;
    }
    if (end - begin == 1) return refuse(begin, *refused);
    const size_t middle = begin + (end - begin) / 2;
    some(begin, middle);
    some(middle, end);
  }

  void refuse(size_t line, const Error& error) {
    const bool blank = is_blank((*lines_)[line]);
    const std::string name = format("line {}: ", first_ + line), what = error.what();
    const std::string message = what.starts_with(name.substr(0, name.size() - 2)) ? what : name + what;
    command_.skip_line();
    if (command_.prints_lines()) out_ += (blank ? blank_ : command_.json ? Json::object({{"error", message}}).dump() : "") + "\n";
    if (!blank) refused_.emplace_back(error.code(), message);
  }

  // True if every line was refused for the same reason: then the lines are not at fault.
  bool all_alike() const {
    if (refused_.empty() || refused_.size() != lines_->size()) return false;
    const auto reason = [](const Error& error) {
      const std::string what = error.what();
      return what.substr(what.find_first_not_of("0123456789", std::string("line ").size()));
    };
    return std::all_of(refused_.begin(), refused_.end(), [&](const Error& error) { return reason(error) == reason(refused_.front()); });
  }

  TextCommandBase& command_;
  const Model& model_;
  const Interventions interventions_;
  const std::string blank_;  // the answer to a blank line that the command refuses
  const std::vector<std::string>* lines_ = nullptr;
  size_t first_ = 1, all_refused_ = 0;
  std::function<void(double)> progress_{};
  std::string out_{};
  std::vector<Error> refused_{};
};

}  // namespace

bool is_blank(const std::string& line) { return line.find_first_not_of(" \t") == std::string::npos; }

void answer_lines(TextCommandBase& command, const Model& model) {
  Source source(command.text);
  Progress progress(command.doing);
  const std::function<void(double)> shown = source.has_size() ? progress.callback() : nullptr;
  std::function<void(double)> of_window;
  if (shown) of_window = [&](double fraction) { shown(source.fraction(fraction)); };
  Answers answers(command, model);
  size_t count = 0;
  for (std::vector<std::string> lines; source.next(lines); count += lines.size()) answers.window(lines, count + 1, of_window);
  command.finish_lines();
  answers.finish(count);
}

}  // namespace clearhead::cli
