// The interface through which ops record themselves for the backward pass.
//
//   A recorded op says what it wrote, what it keeps, and how gradients of the result become gradients of its inputs.
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

/// A tensor without its values, for a reverse that needs its storage and view only. The memory of the values can then
/// be freed as soon as nothing else needs it.
inline Tensor shadow_of(const Tensor& t) { return TensorPool::shadow(t); }

/// The gradients of a backward pass, all f32.
class Gradients {
 public:
  virtual ~Gradients() = default;
  /// Whether the gradient of t is needed: t was watched, or computed from something that was.
  virtual bool wants(const Tensor& t) const = 0;
  /// The gradient of t, as the same view; zeros if nothing has contributed to it.
  virtual Tensor of(const Tensor& t) = 0;
  struct Place {
    Tensor gradient{};
    /// False: no gradient is there yet; the contents are not initialised and must be written in full.
    bool accumulate = false;
  };
  virtual Place place(const Tensor& t) = 0;
};

class Recorder {
 public:
  using Reverse = std::function<void(Gradients&)>;
  virtual ~Recorder() = default;
  /// Memory that lives as long as somebody holds it; not initialised.
  virtual Tensor take(const Shape& shape, DType dtype = DType::kF32) = 0;
  virtual bool wants(const Tensor& t) const = 0;
  /// Told of the embeddings that a network of `family` starts from, before anything reads them. May change them, and
  /// watch them for their gradient.   x: [rows, width]
  virtual void embedded(const std::string&, Tensor&) {}
  /// Records an op. `kept` must not be written until the reverse has run, which throws kStale otherwise. Undefined
  /// tensors in `kept` are ignored.
  virtual void record(const char* op, const Tensor& out, const std::vector<Tensor>& kept, Reverse reverse) = 0;
  /// Activation checkpoint: runs `body`, which changes x in place, and keeps only the earlier contents of x. The
  /// backward pass restores them and runs `body` again, recorded this time. `body` must therefore compute the same each
  /// time, and everything else it reads must stay unchanged.
  virtual void checkpoint(Tensor& x, const std::function<void()>& body) = 0;
};

}  // namespace clearhead
