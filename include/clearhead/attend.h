// Room: ops.
// The fused call, and the cache of keys that grows under it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

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

struct AttendGradients {
  Tensor q{}, k{}, v{};            ///< f32, in the shapes of q, k and v
  std::vector<Tensor> operands{};  ///< in for_each_operand's order; undefined where not wanted, and for operands that are not f32
};

/// Gradients of a loss with respect to what a fused call was given, from the gradient of its output (Dao 2023, algorithm 2): weights are
/// recomputed tile by tile from the record, none is stored.
///
/// record: of attend() over tensors (not pages), unchanged since. v and out: what attend() was given and gave. d_out: f32, shape of out, any strides.
/// `wants` says by name (for_each_operand) which operands' gradients to compute; all when absent. A dense bias's gradient is as large as the bias.
/// Memory: O(length·d) beyond the results. Thread-safe. Bit-equal for any thread count.
/// Throws kShape if shapes do not fit, kStale if an operand changed, kUnsupported for pages, for a record of some rows, and where the backend has no gradient.
AttendGradients attend_gradients(const AttentionRecord& record, const Tensor& v, const Tensor& out, const Tensor& d_out,
                                 const std::function<bool(const std::string& name)>& wants = nullptr);

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
