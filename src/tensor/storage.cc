// Allocates the memory of tensors: aligned, one cache line longer than requested, and in huge pages if it is large. Large
// blocks that were freed recently are kept for tensors of exactly their size; a shelf reuses blocks of up to twice the
// requested size.
#include "tensor/storage.h"

#include <sys/mman.h>
#include <algorithm>
#include <cstdlib>
#include <deque>
#include <iterator>
#include <map>
#include <mutex>

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead {
namespace {

// Reading a large tensor crosses a 4 KB page every hundred nanoseconds; with 2 MB pages a core's TLB covers gigabytes.
constexpr size_t kHugePage = size_t{2} << 20;

// Vector code may read one cache line beyond the end.
size_t padded(size_t bytes) {
  const size_t unit = bytes >= kHugePage ? kHugePage : 64;
  return (bytes + 64 + unit - 1) / unit * unit;
}

// Keeps recently freed large blocks for tensors of exactly their size. The system clears every new page, which takes about
// a tenth of the time that an op needs to compute the values that it writes there. Thread-safe.
class FreedBlocks {
 public:
  std::byte* take(size_t bytes) {
    const std::lock_guard<std::mutex> hold(lock_);
    const auto found = std::find_if(blocks_.rbegin(), blocks_.rend(), [&](const Block& block) { return block.bytes == bytes; });
    if (found == blocks_.rend()) return nullptr;
    std::byte* memory = found->memory;
    held_ -= bytes;
    blocks_.erase(std::next(found).base());
    return memory;
  }
  void put(size_t bytes, std::byte* memory) {
    if (bytes > kMostHeld) return std::free(memory);
    const std::lock_guard<std::mutex> hold(lock_);
    blocks_.push_back({bytes, memory});
    held_ += bytes;
    for (; held_ > kMostHeld; blocks_.pop_front()) {
      std::free(blocks_.front().memory);
      held_ -= blocks_.front().bytes;
    }
  }

  // Returns all blocks to the system.
  void let_go() {
    const std::lock_guard<std::mutex> hold(lock_);
    for (const Block& block : blocks_) std::free(block.memory);
    blocks_.clear();
    held_ = 0;
  }

 private:
#ifdef __SANITIZE_ADDRESS__
  static constexpr size_t kMostHeld = 0;  // otherwise AddressSanitizer could not detect uses after free
#else
  static constexpr size_t kMostHeld = size_t{64} << 20;
#endif
  struct Block {
    size_t bytes;
    std::byte* memory;
  };
  std::mutex lock_;
  size_t held_ = 0;
  std::deque<Block> blocks_;  // oldest first
};

FreedBlocks& freed_blocks() {
  static auto* blocks = new FreedBlocks;  // outlives every tensor
  return *blocks;
}

std::byte* system_memory(size_t bytes) {
  const size_t unit = bytes >= kHugePage ? kHugePage : 64, rounded = padded(bytes);
  if (unit == kHugePage) {
    if (std::byte* memory = freed_blocks().take(rounded)) return memory;
  }
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(unit, rounded));
  if (!memory) {
    freed_blocks().let_go();
    memory = static_cast<std::byte*>(std::aligned_alloc(unit, rounded));
  }
  if (!memory) fail(ErrorCode::kBudget, "tensor: out of memory, {} cannot be allocated", human_bytes(bytes));
  if (unit == kHugePage) (void)::madvise(memory, rounded, MADV_HUGEPAGE);  // only a hint: failure has no effect
  return memory;
}

void free_memory(size_t bytes, std::byte* memory) {
  if (bytes < kHugePage) return std::free(memory);
  freed_blocks().put(padded(bytes), memory);
}

uint64_t next_number() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace

class StorageShelf {
 public:
  ~StorageShelf() {
    for (const auto& [bytes, memory] : kept_) free_memory(bytes, memory);
  }
  // Returns a block of at least `bytes` and at most twice that, and sets `bytes` to its size; null if there is none. In that
  // case the next smaller block is freed, so that steps with other sizes never leave behind more blocks than were in use at
  // once.
  std::byte* take(size_t& bytes) {
    const std::lock_guard<std::mutex> hold(lock_);
    const auto found = kept_.lower_bound(bytes);
    if (found == kept_.end() || found->first / 2 > bytes) {
      if (found != kept_.begin()) {
        const auto smaller = std::prev(found);
        free_memory(smaller->first, smaller->second);
        kept_.erase(smaller);
      }
      return nullptr;
    }
    std::byte* memory = found->second;
    bytes = found->first;
    kept_.erase(found);
    return memory;
  }
  void put(size_t bytes, std::byte* memory) {
    const std::lock_guard<std::mutex> hold(lock_);
    kept_.emplace(bytes, memory);
    lent_ -= bytes;
  }
  void lend(size_t bytes) {
    const std::lock_guard<std::mutex> hold(lock_);
    lent_ += bytes;
    most_ = std::max(most_, lent_);
  }
  size_t most() const {
    const std::lock_guard<std::mutex> hold(lock_);
    return most_;
  }

 private:
  mutable std::mutex lock_;
  size_t lent_ = 0, most_ = 0;  // bytes
  std::multimap<size_t, std::byte*> kept_;
};

std::shared_ptr<Storage> Storage::allocate(size_t bytes, std::shared_ptr<StorageShelf> shelf) {
  std::shared_ptr<Storage> storage(new Storage(next_number()));
  storage->bytes = storage->capacity_ = bytes;
  storage->data = shelf ? shelf->take(storage->capacity_) : nullptr;
  if (!storage->data) storage->data = system_memory(bytes);
  if (shelf) shelf->lend(storage->capacity_);
  storage->owned = true;
  storage->shelf_ = std::move(shelf);
  return storage;
}

std::shared_ptr<Storage> Storage::allocate(size_t bytes) { return allocate(bytes, nullptr); }

std::shared_ptr<Storage> Storage::borrow(const void* data, std::shared_ptr<const void> keep_alive, bool immutable) {
  std::shared_ptr<Storage> storage(new Storage(next_number()));
  storage->data = static_cast<std::byte*>(const_cast<void*>(data));
  storage->keep_alive_ = std::move(keep_alive);
  storage->immutable = immutable;
  return storage;
}

Storage::~Storage() {
  if (!owned || !data) return;
  if (shelf_) {
    shelf_->put(capacity_, data);
  } else {
    free_memory(capacity_, data);
  }
}

size_t Storage::most_bytes(const StorageShelf& shelf) { return shelf.most(); }

std::shared_ptr<Storage> Storage::shadow(const Storage& of) {
  std::shared_ptr<Storage> storage(new Storage(of.number));
  storage->bytes = of.bytes;
  storage->owned = of.owned;
  return storage;
}

std::shared_ptr<StorageShelf> Storage::make_shelf() { return std::make_shared<StorageShelf>(); }

}  // namespace clearhead
