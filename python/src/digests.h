// Digests of operands: a record over arrays of Python is stale once their bytes changed.
//
// The engine counts its own writes (Tensor::version). Writes of numpy and torch to memory that a record shares are not counted, so the
// bytes themselves are hashed when the call is made, and again before every look and every gradient:
//
//   [batch, head, …]   one digest for each sequence and head, so that a look at one head reads the memory of that head only
//   other shapes       one digest
//
// Cost: one pass over q, k, v, out and the operands for each call, O(length · d) beside the O(length² · d) of attention.
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
  /// Digests of q, the keys, the operands of the description, and of these further tensors (undefined ones are skipped). Memory that cannot
  /// be written has none. Must be called without the GIL.
  Digests(const AttentionRecord& record, std::vector<std::pair<std::string, Tensor>> only_of_gradients);

  /// Throw kStale, naming the operand, if its bytes changed: all operands; those of a map; those that one head of a map is made of. Must be
  /// called without the GIL.
  void check_all() const;
  void check_map() const;
  void check_head(int64_t batch, int64_t head) const;

 private:
  struct Operand {
    std::string name;
    Tensor tensor;
    std::vector<uint64_t> planes;  // [batch * head] of a tensor of rank 4, else one
  };
  void add(const std::string& name, const Tensor& tensor);
  void check_first(size_t count) const;
  template <class Body>
  void for_each_plane(size_t count, const Body& body) const;
  std::vector<Operand> operands_{};
  size_t of_map_ = 0;  // the first operands are those that a map is made of
  int64_t heads_ = 0;
};

using SharedDigests = std::shared_ptr<const Digests>;

/// An attention record and what tells whether it is stale.
struct CheckedRecord {
  AttentionRecord record{};
  SharedDigests digests{};  ///< null: nobody else can write its memory
};

}  // namespace clearhead::python
