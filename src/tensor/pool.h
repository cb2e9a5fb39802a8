// Reuses the memory of tensors that are created and freed in the same sizes at every step, without new pages from the
// system.
#pragma once

#include <memory>

#include "clearhead/tensor.h"

namespace clearhead {

class StorageShelf;

/// A pool of memory for tensors. Copies share one shelf. Thread-safe. Tensors may outlive the pool.
class TensorPool {
 public:
  TensorPool();
  /// As Tensor::empty.
  Tensor take(const Shape& shape, DType dtype = DType::kF32) const;
  /// Peak bytes held by tensors of this pool.
  size_t most_bytes() const;
  /// The same view of a storage with the same number and size, but without memory, for looking up gradients. Its elements
  /// must not be read.
  static Tensor shadow(const Tensor& of);

 private:
  std::shared_ptr<StorageShelf> shelf_;
};

}  // namespace clearhead
