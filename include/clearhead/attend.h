// Room: ops.
// The fused call, and the cache of keys that grows under it.
#pragma once

#include <memory>

#include "clearhead/record.h"
#include "clearhead/spec.h"
#include "clearhead/tensor.h"

namespace clearhead {

struct Attended {
  Tensor out{};              ///< f32 [batch, head, query, d_v]
  AttentionRecord record{};  ///< shares q and the keys
};

/// Attends and keeps what is needed to look at the weights later.
///
/// q: [batch, head, query, d_k]   k: [batch, key_head, key, d_k]   v: [batch, key_head, key, d_v]; f32, any strides. Query heads are a multiple of key heads.
/// Returns out [batch, head, query, d_v], and a record that shares q and k (no copy).
/// Memory: O(query·(d_k + d_v)). Thread-safe. Results are bit-equal for any thread count, batch size and number of heads on one instruction set.
/// Throws kShape if shapes do not fit, kUnsupported if the description or dtype has no driver.
Attended attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec = {});

/// The same over a cache: the queries are the last q.size(2) of keys.length positions.
Attended attend(const Tensor& q, const PagedKeys& keys, const AttentionSpec& spec);

/// Keys and values that grow by append, in pages of 256. Snapshots stay true while it grows, and may be looked at meanwhile. Copies share the
/// full pages and grow apart (beams). One thread at a time may append.
class KeyCache {
 public:
  KeyCache() = default;
  KeyCache(const KeyCache& other);
  KeyCache& operator=(const KeyCache& other);
  KeyCache(KeyCache&&) noexcept = default;
  KeyCache& operator=(KeyCache&&) noexcept = default;
  ~KeyCache() = default;
  /// k: f32 [batch, key_head, new, d_k], v: f32 [batch, key_head, new, d_v], any strides. The first call fixes batch, heads and widths.
  void append(const Tensor& k, const Tensor& v);
  const PagedKeys& snapshot() const { return keys_; }
  int64_t length() const { return keys_.length; }

 private:
  PagedKeys keys_;
  std::vector<std::vector<std::shared_ptr<KeyPage>>> writable_;  // [batch][page], the same pages as keys_.pages
};

}  // namespace clearhead
