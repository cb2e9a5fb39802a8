// Files by POSIX calls. Writing uses a temporary file, fsync and rename.
//
// A temporary file is named NAME.tmpPID-N and is locked while it is written. If it has no lock and its process no longer
// exists, it was abandoned and is removed. Signal handlers find unfinished files in fixed memory.
#include "base/file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>

#include "base/format.h"

namespace clearhead {
namespace {

// Names of files being written, in fixed memory that a signal handler can read. It reads an entry only if `used`
// and `ready` are set; `ready` is set last, when the path is complete.
struct Unfinished {
  std::atomic<bool> used{false};
  std::atomic<bool> ready{false};
  char path[4096];
};
Unfinished unfinished[16];

int unfinished_add(const std::string& path) {
  if (path.size() >= sizeof unfinished[0].path) return -1;
  for (int slot = 0; slot < static_cast<int>(std::size(unfinished)); ++slot) {
    bool free = false;
    if (!unfinished[slot].used.compare_exchange_strong(free, true)) continue;
    unfinished[slot].ready.store(false, std::memory_order_relaxed);
    std::memcpy(unfinished[slot].path, path.c_str(), path.size() + 1);
    unfinished[slot].ready.store(true, std::memory_order_release);
    return slot;
  }
  return -1;
}

}  // namespace

void remove_unfinished_files() {
  for (const Unfinished& file : unfinished) {
    if (file.used.load(std::memory_order_acquire) && file.ready.load(std::memory_order_acquire)) ::unlink(file.path);
  }
}

void make_folder(const std::string& path) {
  std::error_code problem;
  std::filesystem::create_directories(path, problem);
  if (problem) fail(ErrorCode::kIo, "{}: cannot be created: {}", path, problem.message());
}

namespace {

[[noreturn]] void fail_reading(const std::string& path) {
  const int reason = errno;
  fail(reason == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: cannot be read: {}", path, std::strerror(reason));
}

// Reads to the end and closes the descriptor.
std::string read_all(int descriptor, const std::string& path) {
  std::string bytes;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t got = ::read(descriptor, buffer, sizeof buffer);
    if (got == 0) break;
    if (got < 0) {
      const int reason = errno;
      if (reason == EINTR) continue;
      ::close(descriptor);
      errno = reason;
      fail_reading(path);
    }
    bytes.append(buffer, static_cast<size_t>(got));
  }
  ::close(descriptor);
  return bytes;
}

}  // namespace

int open_regular(const std::string& path, int64_t& size) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe without a writer would block
  if (descriptor < 0) fail_reading(path);
  struct stat status {};
  if (::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode)) {
    size = status.st_size;
    return descriptor;
  }
  ::close(descriptor);
  if (S_ISDIR(status.st_mode)) {
    errno = EISDIR;
    fail_reading(path);
  }
  fail(ErrorCode::kIo, "{}: expected a regular file, found {}", path,
       S_ISFIFO(status.st_mode)   ? "a pipe"
       : S_ISSOCK(status.st_mode) ? "a socket"
                                  : "a device");
}

std::string read_config(const std::string& path) {
  int64_t size = 0;
  const int descriptor = open_regular(path, size);
  if (size > kLargestConfig) {
    ::close(descriptor);
    fail(ErrorCode::kFormat, "{}: has {}; expected a file of at most {}", path, human_bytes(static_cast<uint64_t>(size)),
         human_bytes(static_cast<uint64_t>(kLargestConfig)));
  }
  return read_all(descriptor, path);
}

std::string read_file(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail_reading(path);
  return read_all(descriptor, path);
}

void write_file(const std::string& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void check_writable(const std::string& path) { AtomicFile probe(path); }

namespace {

// The target of a symbolic link, which need not exist; the path itself if it is not a link. Throws kIo for a cycle of links.
std::string behind_links(const std::string& path) {
  constexpr int kMostLinks = 40;  // the same limit as Linux has
  std::filesystem::path at = path;
  std::error_code problem;
  for (int links = 0; links < kMostLinks; ++links) {
    if (!std::filesystem::is_symlink(at, problem)) return at.string();
    const std::filesystem::path next = std::filesystem::read_symlink(at, problem);
    if (problem) break;
    at = next.is_absolute() ? next : at.parent_path() / next;
  }
  fail(ErrorCode::kIo, "{}: cannot be written: too many levels of symbolic links", path);
}

// The process id in the name of a temporary file (NAME.tmpPID-N); 0 for any other name.
pid_t maker_of(const std::string& name) {
  constexpr std::string_view kDigits = "0123456789";
  const size_t mark = name.rfind(".tmp"), dash = name.rfind('-');
  if (mark == std::string::npos || dash == std::string::npos || dash < mark + 5 || dash + 1 == name.size()) return 0;
  const std::string pid = name.substr(mark + 4, dash - mark - 4), number = name.substr(dash + 1);
  if (pid.find_first_not_of(kDigits) != std::string::npos || number.find_first_not_of(kDigits) != std::string::npos || pid.size() > 9)
    return 0;
  return static_cast<pid_t>(std::stol(pid));
}

// Removes temporary files that killed processes left in a folder. The process that writes a temporary file holds its lock,
// so a file that can be locked and whose process no longer exists is abandoned.
void remove_abandoned(const std::filesystem::path& folder) {
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(folder.empty() ? "." : folder, problem)) {
    const pid_t maker = maker_of(entry.path().filename().string());
    if (maker <= 0 || ::kill(maker, 0) == 0 || errno != ESRCH || !entry.is_regular_file(problem)) continue;
    const int descriptor = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) continue;
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) ::unlink(entry.path().c_str());
    ::close(descriptor);
  }
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path) : path_(path), target_(path) {
  static std::atomic<unsigned> counter{0};
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) {
      errno = EISDIR;
      fail_with("cannot be written");
    }
    if (!S_ISREG(status.st_mode)) {  // renaming onto a device would replace it
      descriptor_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
      if (descriptor_ < 0) fail_with("cannot be written");
      return;
    }
  }
  target_ = behind_links(path);
  remove_abandoned(std::filesystem::path(target_).parent_path());
  temporary_ = target_ + ".tmp" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  slot_ = unfinished_add(temporary_);
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail_with("cannot be written");
  (void)::flock(descriptor_, LOCK_EX | LOCK_NB);  // may fail: on file systems without locks only the process id is checked
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0 && !temporary_.empty()) ::unlink(temporary_.c_str());
  close_and_forget();
}

void AtomicFile::close_and_forget() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
  if (slot_ >= 0) unfinished[slot_].used.store(false, std::memory_order_release);
  slot_ = -1;
}

void AtomicFile::fail_with(const char* what) {
  const int reason = errno;
  const bool is_device = descriptor_ >= 0 && temporary_.empty();  // or a pipe, which keeps the bytes that it has taken
  if (descriptor_ >= 0 && !is_device) ::unlink(temporary_.c_str());
  close_and_forget();
  fail(ErrorCode::kIo, "{}: {}: {}; {}", path_, what, std::strerror(reason),
       is_device ? "some bytes may have been written" : "nothing was changed");
}

void AtomicFile::write(const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t put = ::write(descriptor_, at, size);
    if (put < 0) {
      if (errno == EINTR) continue;
      fail_with("cannot be written");
    }
    at += put;
    size -= static_cast<size_t>(put);
  }
}

void AtomicFile::overwrite_beginning(std::string_view bytes) {
  if (::lseek(descriptor_, 0, SEEK_SET) != 0) fail_with("cannot be overwritten");
  write(bytes);
}

void AtomicFile::commit() {
  try {
    check_mappings();
  } catch (...) {
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
    close_and_forget();
    throw;
  }
  if (::fsync(descriptor_) != 0 && errno != EINVAL) fail_with("cannot be written");
  if (!temporary_.empty() && ::rename(temporary_.c_str(), target_.c_str()) != 0) fail_with("cannot be written");
  close_and_forget();
}

}  // namespace clearhead
