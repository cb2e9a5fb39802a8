// The lock is an flock on a file whose content names its holder. The system releases it when the process ends. A holder
// that exits normally removes the file; a file left by a killed process is reused.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "base/file.h"
#include "base/format.h"

namespace clearhead {
namespace {

std::string this_process() {
  char host[256] = {}, when[64] = {};
  (void)::gethostname(host, sizeof host - 1);
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  (void)std::strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &utc);
  return format("process {} on {}, since {}", ::getpid(), host, when);
}

// True if the path still names the open file. A previous holder may have removed it in the meantime.
bool is_at(const std::string& path, int descriptor) {
  struct stat open {
  }, named{};
  return ::fstat(descriptor, &open) == 0 && ::stat(path.c_str(), &named) == 0 && open.st_ino == named.st_ino && open.st_dev == named.st_dev;
}

}  // namespace

FolderLock::FolderLock(const std::string& folder, const std::string& name) : path_(folder + "/" + name) {
  while (descriptor_ < 0) {
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, 0644);
    if (descriptor_ < 0) fail(ErrorCode::kIo, "{}: cannot be created: {}", path_, std::strerror(errno));
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      const int reason = errno;
      char holder[512] = {};
      (void)::pread(descriptor_, holder, sizeof holder - 1, 0);
      ::close(descriptor_);
      if (reason != EWOULDBLOCK) fail(ErrorCode::kIo, "{}: cannot be locked: {}", path_, std::strerror(reason));
      fail(ErrorCode::kInvalidArgument, "{}: is in use by {}; wait for it, or give another folder", folder, one_line(holder));
    }
    if (is_at(path_, descriptor_)) break;
    ::close(descriptor_);
    descriptor_ = -1;
  }
  const std::string who = this_process();
  if (::ftruncate(descriptor_, 0) != 0 || ::pwrite(descriptor_, who.data(), who.size(), 0) < 0) {
    const int reason = errno;
    ::close(descriptor_);
    fail(ErrorCode::kIo, "{}: cannot be written: {}", path_, std::strerror(reason));
  }
}

FolderLock::~FolderLock() {
  ::unlink(path_.c_str());
  ::close(descriptor_);
}

}  // namespace clearhead
