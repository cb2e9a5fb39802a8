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

/// The digest of several data sets, in this order. Each adds itself by `add_to(Digest&)`.
template <class... Data>
std::string digest_of(const Data&... data) {
  Digest digest;
  (data.add_to(digest), ...);
  return digest.hex();
}

}  // namespace clearhead
