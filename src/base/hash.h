// A non-cryptographic hash: 64-bit FNV-1a (Fowler, Noll & Vo).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/format.h"

namespace clearhead {

class Digest {
 public:
  void add(const void* data, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i) hash_ = (hash_ ^ static_cast<const unsigned char*>(data)[i]) * 1099511628211ull;
  }
  uint64_t value() const { return hash_; }
  std::string hex() const { return format("{:016x}", hash_); }

 private:
  uint64_t hash_ = 1469598103934665603ull;
};

}  // namespace clearhead
