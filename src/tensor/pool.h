// Reuses the memory of freed tensors, for steps that create and free tensors of the same sizes again and again. New pages
// from the system would be slower.
#pragma once

#include <memory>

#include "clearhead/tensor.h"

namespace clearhead {

class StorageShelf;

/// A pool of memory for tensors. Copies of the pool share its memory. Thread-safe. Tensors may outlive the pool.
class TensorPool {
 public:
  TensorPool();
  /// As Tensor::empty.
  Tensor take(const Shape& shape, DType dtype = DType::kF32) const;
  /// Peak bytes held by tensors of this pool.
  size_t most_bytes() const;
  /// A tensor with the shape, strides, storage_number() and storage size of `of`, but without memory. The tape looks up
  /// gradients by it. Its elements must not be read.
  static Tensor shadow(const Tensor& of);

 private:
  std::shared_ptr<StorageShelf> shelf_;
};

}  // namespace clearhead
