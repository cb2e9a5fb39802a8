// The same check serves whole texts and single lines. Lines are counted only to report an error.
#include "base/text_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "base/format.h"
#include "base/utf8.h"

namespace clearhead {
namespace {

constexpr std::string_view kUtf8Mark = "\xEF\xBB\xBF";

bool is_standard_input(const std::string& path) { return path == "-" || path == "/dev/stdin"; }
std::string shown_name(const std::string& path) { return is_standard_input(path) ? "standard input" : path; }

// The encoding indicated by a byte order mark other than UTF-8's; null if there is none. UTF-32 is tested first, because
// the mark of UTF-32 little-endian begins with that of UTF-16.
const char* other_encoding(std::string_view bytes) {
  using std::string_view_literals::operator""sv;
  if (bytes.starts_with("\xFF\xFE\0\0"sv) || bytes.starts_with("\0\0\xFE\xFF"sv)) return "UTF-32";
  if (bytes.starts_with("\xFF\xFE"sv) || bytes.starts_with("\xFE\xFF"sv)) return "UTF-16";
  return nullptr;
}

// Binary formats that users often pass instead of a text, recognised by their first bytes.
const char* other_kind(std::string_view bytes) {
  constexpr std::pair<std::string_view, const char*> kKinds[] = {{"\x89PNG", "a PNG picture"},   {"\xFF\xD8\xFF", "a JPEG picture"},
                                                                 {"%PDF-", "a PDF document"},    {"PK\x03\x04", "a ZIP archive"},
                                                                 {"\x1F\x8B", "a gzip archive"}, {"RIFF", "a RIFF file (WAV, AVI, WebP)"}};
  for (const auto& [begin, name] : kKinds) {
    if (bytes.starts_with(begin)) return name;
  }
  return nullptr;
}

[[noreturn]] void refuse(const std::string& name, int64_t line, const std::string& found, const char* encoding) {
  fail(ErrorCode::kFormat, "{}, line {}: {}; expected text in UTF-8. Convert it: iconv -f {} -t UTF-8", name, line, found, encoding);
}

// first_line: line number of the first line in `bytes`.
void check(std::string_view bytes, const std::string& name, int64_t first_line) {
  const char* encoding = first_line == 1 ? other_encoding(bytes) : nullptr;
  if (encoding) refuse(name, 1, format("the text is in {}", encoding), encoding);
  const size_t valid = std::min(valid_utf8_prefix(bytes), bytes.find('\0'));
  if (valid >= bytes.size()) return;
  const char* kind = first_line == 1 ? other_kind(bytes) : nullptr;
  if (kind) fail(ErrorCode::kFormat, "{}: is {}; expected text in UTF-8", name, kind);
  const int64_t line = first_line + std::count(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(valid), '\n');
  if (bytes.find('\0') != std::string_view::npos && valid_utf8_prefix(bytes) < bytes.size())
    fail(ErrorCode::kFormat, "{}: is a binary file, or text in another encoding; expected text in UTF-8", name);
  if (bytes[valid] == '\0') refuse(name, line, "a NUL byte, as in UTF-16 without a byte order mark", "UTF-16LE");
  refuse(name, line, format("byte 0x{:02X} is not UTF-8", static_cast<unsigned>(static_cast<unsigned char>(bytes[valid]))), "WINDOWS-1252");
}

std::string_view without_mark(std::string_view bytes) { return bytes.starts_with(kUtf8Mark) ? bytes.substr(kUtf8Mark.size()) : bytes; }

}  // namespace

std::string_view utf8_text(std::string_view bytes, const std::string& name) {
  check(bytes, name, 1);
  return without_mark(bytes);
}

std::string read_text_file(const std::string& path) {
  std::string bytes = read_file(is_standard_input(path) ? "/dev/stdin" : path);
  bytes.erase(0, bytes.size() - utf8_text(bytes, shown_name(path)).size());
  return bytes;
}

TextLines::TextLines(const std::string& path) : name_(shown_name(path)) {
  std::error_code unknown;
  if (std::filesystem::is_directory(path, unknown)) fail(ErrorCode::kIo, "{}: is a folder; expected a text", path);
  descriptor_ = is_standard_input(path) ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) fail(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: cannot be read: {}", name_, std::strerror(errno));
}

TextLines::~TextLines() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool TextLines::read_more() {
  if (descriptor_ < 0) return false;
  bytes_.erase(0, begin_);
  begin_ = 0;
  char buffer[1 << 16];
  ssize_t got = 0;
  do got = ::read(descriptor_, buffer, sizeof buffer);
  while (got < 0 && errno == EINTR);
  if (got < 0) fail(ErrorCode::kIo, "{}: cannot be read beyond line {}: {}", name_, number_, std::strerror(errno));
  bytes_.append(buffer, static_cast<size_t>(got));
  if (got == 0) ::close(std::exchange(descriptor_, -1));
  return got > 0;
}

bool TextLines::next(std::string& line) {
  size_t end = bytes_.find('\n', begin_);
  while (end == std::string::npos) {
    const size_t searched = bytes_.size() - begin_;
    if (!read_more()) break;
    end = bytes_.find('\n', begin_ + searched);
  }
  if (end == std::string::npos && begin_ == bytes_.size()) return false;
  line = bytes_.substr(begin_, end - begin_);
  begin_ = end == std::string::npos ? bytes_.size() : end + 1;
  check(line, name_, ++number_);
  if (number_ == 1) line.erase(0, line.size() - without_mark(line).size());
  return true;
}

}  // namespace clearhead
