// Memory-mapped files, and protection against another process that truncates one while it is mapped.
//
// A read beyond a file's new end raises SIGBUS. The handler finds the address among the mapped files, maps a page of zeros
// there and marks the file as truncated. The list of mapped files is in fixed memory, and the first word of an entry is
// set last and cleared first, so the handler may run at any moment. Results computed from the zeros must not be shown:
// code that shows or writes results calls check_mappings() first.
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "base/file.h"
#include "base/format.h"

namespace clearhead {
namespace {

struct Mapping {
  std::atomic<uintptr_t> begin{0};  // 0: free, or not yet filled in
  std::atomic<size_t> size{0};
  std::atomic<bool> used{false}, is_cut{false};
  char path[512] = {};
};
Mapping mappings[1024];  // the first is not used: index 0 means unprotected
std::atomic<bool> any_is_cut{false};
struct sigaction before {};

size_t mapping_add(const std::string& path, const void* address, size_t size) {
  for (size_t slot = 1; slot < std::size(mappings); ++slot) {
    bool free = false;
    Mapping& mapping = mappings[slot];
    if (!mapping.used.compare_exchange_strong(free, true)) continue;
    std::strncpy(mapping.path, path.c_str(), sizeof mapping.path - 1);
    mapping.is_cut.store(false);
    mapping.size.store(size);
    mapping.begin.store(reinterpret_cast<uintptr_t>(address), std::memory_order_release);
    return slot;
  }
  return 0;
}

void mapping_remove(size_t slot) {
  if (slot == 0) return;
  mappings[slot].begin.store(0, std::memory_order_release);
  mappings[slot].used.store(false, std::memory_order_release);
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
  const auto at = reinterpret_cast<uintptr_t>(info->si_addr);
  for (Mapping& mapping : mappings) {
    const uintptr_t begin = mapping.begin.load(std::memory_order_acquire);
    if (begin == 0 || at < begin || at - begin >= mapping.size.load()) continue;
    const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    void* first = reinterpret_cast<void*>(at / page * page);
    if (::mmap(first, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) break;
    mapping.is_cut.store(true);
    any_is_cut.store(true);
    return;
  }
  if ((before.sa_flags & SA_SIGINFO) != 0 && before.sa_sigaction) return before.sa_sigaction(signal, info, context);
  if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) return before.sa_handler(signal);
  ::signal(signal, SIG_DFL);  // the read is repeated and then ends the process, as it would have without this handler
}

}  // namespace

void guard_mappings() {
  static const bool done = [] {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    ::sigemptyset(&action.sa_mask);
    return ::sigaction(SIGBUS, &action, &before) == 0;
  }();
  (void)done;
}

void check_mappings() {
  if (!any_is_cut.load(std::memory_order_relaxed)) return;
  for (const Mapping& mapping : mappings) {
    if (mapping.begin.load(std::memory_order_acquire) == 0 || !mapping.is_cut.load()) continue;
    fail(ErrorCode::kIo,
         "{}: was truncated by another program while it was in use; results that depend on it are not shown. Restore the file and start "
         "again.",
         std::string(mapping.path));
  }
}

std::shared_ptr<MappedFile> MappedFile::open(const std::string& path) {
  int64_t size = 0;
  const int descriptor = open_regular(path, size);
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->path_ = path;
  file->size_ = static_cast<size_t>(size);
  if (size > 0) {
    void* address = ::mmap(nullptr, file->size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    const int reason = errno;
    ::close(descriptor);
    if (address == MAP_FAILED) fail(ErrorCode::kIo, "{}: cannot be read: {}", path, std::strerror(reason));
    file->data_ = static_cast<const std::byte*>(address);
    file->slot_ = mapping_add(path, address, file->size_);
  } else {
    ::close(descriptor);
  }
  return file;
}

MappedFile::~MappedFile() {
  mapping_remove(slot_);
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(size_t begin, size_t end) const {
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  begin = (begin + page - 1) / page * page;
  end = end / page * page;
  if (data_ && begin < end) ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

}  // namespace clearhead
