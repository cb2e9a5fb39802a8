// Digests of operands: detect that the arrays behind a record have changed (StaleError).
//
// The engine counts its own writes (Tensor::version), but not those of numpy and torch to memory that a record shares. Therefore the bytes
// are hashed at the call, and again before weights are recomputed and before gradients:
//
//   [batch, head, …]   one digest per sequence and head, so that reading one head hashes only the memory of that head
//   other shapes       one digest
//
// Cost: one pass over q, k, v, out and the operands for each call, O(length · d), compared with O(length² · d) for attention.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "clearhead/record.h"
#include "clearhead/tensor.h"

namespace clearhead::python {

class Digests {
 public:
  /// Hashes q, the keys, the operands of the description, and these further tensors (undefined ones are skipped). Memory that cannot be
  /// written is not hashed. Must be called without the GIL.
  Digests(const AttentionRecord& record, std::vector<std::pair<std::string, Tensor>> only_of_gradients);

  /// Throw kStale, naming the operand, if its bytes have changed: all operands; the operands of a map; the operands of one head of a map.
  /// Must be called without the GIL.
  void check_all() const;
  void check_map() const;
  void check_head(int64_t batch, int64_t head) const;

 private:
  struct Operand {
    std::string name;
    Tensor tensor;
    std::vector<uint64_t> planes;  // [batch * head] for a tensor of rank 4, otherwise one digest
  };
  void add(const std::string& name, const Tensor& tensor);
  void check_first(size_t count) const;
  template <class Body>
  void for_each_plane(size_t count, const Body& body) const;
  std::vector<Operand> operands_{};
  size_t of_map_ = 0;  // number of leading operands that a map depends on
  int64_t heads_ = 0;
};

using SharedDigests = std::shared_ptr<const Digests>;

/// An attention record with the digests that detect whether it is stale.
struct CheckedRecord {
  AttentionRecord record{};
  SharedDigests digests{};  ///< null if no other code can write to its memory
};

}  // namespace clearhead::python
