// The memory of tensors, with a version that counts how often it was opened for writing.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace clearhead {

/// Keeps the memory of freed storages for new storages of similar size. Thread-safe.
class StorageShelf;

class Storage {
 public:
  static std::shared_ptr<Storage> allocate(size_t bytes);
  static std::shared_ptr<StorageShelf> make_shelf();
  /// Takes memory from the shelf. The destructor returns it there.
  static std::shared_ptr<Storage> allocate(size_t bytes, std::shared_ptr<StorageShelf> shelf);
  /// Peak bytes in use by storages of the shelf.
  static size_t most_bytes(const StorageShelf& shelf);
  /// A storage with the same number and size, but without memory.
  static std::shared_ptr<Storage> shadow(const Storage& of);
  static std::shared_ptr<Storage> borrow(const void* data, std::shared_ptr<const void> keep_alive, bool immutable);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data = nullptr;
  size_t bytes = 0;       // size of owned memory, as requested
  const uint64_t number;  // unique in this process and never reused, except by shadows
  bool owned = false;
  bool immutable = false;
  std::atomic<uint64_t> version{0};

 private:
  explicit Storage(uint64_t of_number) : number(of_number) {}
  std::shared_ptr<const void> keep_alive_;
  std::shared_ptr<StorageShelf> shelf_;
  size_t capacity_ = 0;  // size of the memory, as requested by its first storage
};

}  // namespace clearhead
