// Memory for tensors that come and go in the same sizes, step after step: what one lets go the next one gets, without asking the system for pages.
#pragma once

#include <memory>

#include "clearhead/tensor.h"

namespace clearhead {

class StorageShelf;

/// Copies share one shelf. Thread-safe. Tensors may outlive the pool.
class TensorPool {
 public:
  TensorPool();
  /// As Tensor::empty.
  Tensor take(const Shape& shape, DType dtype = DType::kF32) const;
  /// Most bytes that tensors from here held at once.
  size_t most_bytes() const;
  /// The same view of the same storage by its number and size, without its memory: gradients stand beside it, its elements are not to be read.
  static Tensor shadow(const Tensor& of);

 private:
  std::shared_ptr<StorageShelf> shelf_;
};

}  // namespace clearhead
