// The bytes behind tensors, and how often somebody asked to write them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace clearhead {

/// Memory of storages that are gone, kept for the next ones of about their size. Thread-safe.
class StorageShelf;

class Storage {
 public:
  static std::shared_ptr<Storage> allocate(size_t bytes);
  static std::shared_ptr<StorageShelf> make_shelf();
  /// From the shelf, and back to it at the end.
  static std::shared_ptr<Storage> allocate(size_t bytes, std::shared_ptr<StorageShelf> shelf);
  /// Most bytes that were off the shelf at once.
  static size_t most_bytes(const StorageShelf& shelf);
  /// One of the same number and size, without memory.
  static std::shared_ptr<Storage> shadow(const Storage& of);
  static std::shared_ptr<Storage> borrow(const void* data, std::shared_ptr<const void> keep_alive, bool immutable);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data = nullptr;
  size_t bytes = 0;       // of owned memory, as asked for
  const uint64_t number;  // no other storage of this process has had or will have it, but for shadows
  bool owned = false;
  bool immutable = false;
  std::atomic<uint64_t> version{0};

 private:
  explicit Storage(uint64_t of_number) : number(of_number) {}
  std::shared_ptr<const void> keep_alive_;
  std::shared_ptr<StorageShelf> shelf_;
  size_t capacity_ = 0;  // bytes asked for when its memory was made, by whoever had it first
};

}  // namespace clearhead
