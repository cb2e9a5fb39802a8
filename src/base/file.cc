#include "base/file.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
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

[[noreturn]] void fail_reading(const std::string& path) {
  const int reason = errno;
  fail(reason == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: cannot be read: {}", path, std::strerror(reason));
}

// Names of files being written, where a signal handler can read them: fixed memory, a flag that is set last and cleared first.
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

std::shared_ptr<MappedFile> MappedFile::open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail_reading(path);
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || S_ISDIR(status.st_mode)) {
    if (S_ISDIR(status.st_mode)) errno = EISDIR;
    const int reason = errno;
    ::close(descriptor);
    errno = reason;
    fail_reading(path);
  }
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->path_ = path;
  file->size_ = static_cast<size_t>(status.st_size);
  if (file->size_ > 0) {
    void* address = ::mmap(nullptr, file->size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    const int reason = errno;
    ::close(descriptor);
    if (address == MAP_FAILED) {
      errno = reason;
      fail_reading(path);
    }
    file->data_ = static_cast<const std::byte*>(address);
  } else {
    ::close(descriptor);
  }
  return file;
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(size_t begin, size_t end) const {
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  begin = (begin + page - 1) / page * page;
  end = end / page * page;
  if (data_ && begin < end) ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

void make_folder(const std::string& path) {
  std::error_code problem;
  std::filesystem::create_directories(path, problem);
  if (problem) fail(ErrorCode::kIo, "{}: cannot be made: {}", path, problem.message());
}

std::string read_file(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail_reading(path);
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

void write_file(const std::string& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void check_writable(const std::string& path) { AtomicFile probe(path); }

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
    char real[PATH_MAX];
    if (::realpath(path.c_str(), real)) target_ = real;
  }
  temporary_ = target_ + ".tmp" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  slot_ = unfinished_add(temporary_);
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail_with("cannot be written");
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
  if (descriptor_ >= 0 && !temporary_.empty()) ::unlink(temporary_.c_str());
  close_and_forget();
  fail(ErrorCode::kIo, "{}: {}: {}; nothing was changed", path_, what, std::strerror(reason));
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
  if (::lseek(descriptor_, 0, SEEK_SET) != 0) fail_with("cannot be written over");
  write(bytes);
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0 && errno != EINVAL) fail_with("cannot be written");
  if (!temporary_.empty() && ::rename(temporary_.c_str(), target_.c_str()) != 0) fail_with("cannot be written");
  close_and_forget();
}

}  // namespace clearhead
