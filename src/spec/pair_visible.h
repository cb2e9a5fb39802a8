// Tests whether segments and mask make a single pair visible. Used by code that works pair by pair: the reference and
// the selection of keys. Bands and lists are handled as ranges: spec/visible.h, spec/block_sparse.h.
#pragma once

#include <cstdint>

#include "clearhead/spec.h"
#include "spec/visible.h"

namespace clearhead {

/// A pair by its indices. `query` is the query's index, not its position among the keys.
struct PairAt {
  int64_t batch = 0, head = 0, query = 0, key = 0;
};

/// Returns the element of an operand [batch|1, head|1, query|1, key] for a pair. Axes of size 1 broadcast.
template <class T>
T pair_element(const Tensor& operand, const PairAt& at) {
  return operand.data<T>()[at.batch * broadcast_stride(operand, 0) + at.head * broadcast_stride(operand, 1) +
                           at.query * broadcast_stride(operand, 2) + at.key * operand.stride(3)];
}

/// True if segments and mask make the pair visible. A negative segment id is padding: it sees nothing and nothing sees
/// it.
inline bool segments_and_mask_show(const Topology& topology, const PairAt& at) {
  if (const auto& segments = topology.segments) {
    const auto id = [&](const Tensor& ids, int64_t index) {
      return ids.data<int32_t>()[at.batch * broadcast_stride(ids, 0) + index * ids.stride(1)];
    };
    const int32_t own = id(segments->queries, at.query);
    if (own < 0 || own != id(segments->keys, at.key)) return false;
  }
  return !topology.mask || pair_element<bool>(topology.mask->visible, at);
}

}  // namespace clearhead
