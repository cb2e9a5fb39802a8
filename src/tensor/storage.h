// The bytes behind tensors, and how often somebody asked to write them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace clearhead {

class Storage {
 public:
  static std::shared_ptr<Storage> allocate(size_t bytes);
  static std::shared_ptr<Storage> borrow(const void* data, std::shared_ptr<const void> keep_alive, bool immutable);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data = nullptr;
  bool owned = false;
  bool immutable = false;
  std::atomic<uint64_t> version{0};

 private:
  Storage() = default;
  std::shared_ptr<const void> keep_alive_;
};

}  // namespace clearhead
