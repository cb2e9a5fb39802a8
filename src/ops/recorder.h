// The interface through which ops record themselves for the backward pass.
//
//   A recorded op names the tensor that it wrote and the tensors that it keeps, and gives a function that computes the
//   gradients of its inputs from the gradient of its result.
//   Views need no op: the gradient of a view is the same view of its storage's gradient. So slices, heads and
//   transposes cost nothing.
//   An element is written once, or added to (the residual stream), or changed in place by an op whose reverse also
//   works in place. So each element needs one gradient number.
//
// Ops see only this interface, not the tape behind it (autograd/tape.h).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tensor/pool.h"

namespace clearhead {

/// A tensor without its values (shape, strides and storage number only), with which a reverse function looks up gradients.
/// The memory of the values can then be freed as soon as nothing else needs it.
inline Tensor shadow_of(const Tensor& t) { return TensorPool::shadow(t); }

/// The gradients of a backward pass, all f32.
class Gradients {
 public:
  virtual ~Gradients() = default;
  /// True if the gradient of t is needed: t is watched, or was computed from a watched tensor.
  virtual bool wants(const Tensor& t) const = 0;
  /// The gradient of t, as the same view; zeros if nothing has contributed to it.
  virtual Tensor of(const Tensor& t) = 0;
  struct Place {
    Tensor gradient{};
    /// False: there is no gradient yet; the contents are not initialised and must be written in full.
    bool accumulate = false;
  };
  virtual Place place(const Tensor& t) = 0;
};

class Recorder {
 public:
  using Reverse = std::function<void(Gradients&)>;
  virtual ~Recorder() = default;
  /// Memory that lives as long as a tensor refers to it; not initialised.
  virtual Tensor take(const Shape& shape, DType dtype = DType::kF32) = 0;
  virtual bool wants(const Tensor& t) const = 0;
  /// Called with embeddings or input features before any op reads them. The string is the map family of a Transformer
  /// ("enc", "dec"), "features" for input features, or "" for the result of Compute::embed(). An override may change the
  /// tensor, and may record an op on it to get its gradient.   embeddings: [rows, width]; features: as Batch::features
  virtual void embedded(const std::string&, Tensor&) {}
  /// Records an op. The tensors in `kept` must not be written before `reverse` has run; otherwise the backward pass throws
  /// kStale. Undefined tensors in `kept` are ignored.
  virtual void record(const char* op, const Tensor& out, const std::vector<Tensor>& kept, Reverse reverse) = 0;
  /// Activation checkpoint: runs `body`, which changes x in place, and keeps only the earlier contents of x. The
  /// backward pass restores them and runs `body` again, recorded this time. `body` must therefore compute the same each
  /// time, and everything else it reads must stay unchanged.
  virtual void checkpoint(Tensor& x, const std::function<void()>& body) = 0;
};

}  // namespace clearhead
