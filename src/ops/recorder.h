// How gradients find their way back through what was computed.
//
//   An op that is recorded says what it wrote, what it keeps, and how the gradient of the one becomes gradients of what it read.
//   Views need no op: the gradient of a view is the same view of its storage's gradient, so slices, heads and transposes come for nothing.
//   An element is written once, or added to (the residual stream), or changed in place by an op that reverses in place: its gradient is one number throughout.
//
// Ops know this page and nothing of the tape behind it (autograd/tape.h).
#pragma once

#include <functional>
#include <vector>

#include "tensor/pool.h"

namespace clearhead {

/// What a reverse knows a tensor by whose values it does not read: they are let go as soon as nobody else needs them.
inline Tensor shadow_of(const Tensor& t) { return TensorPool::shadow(t); }

/// The gradients of a backward pass. All are f32.
class Gradients {
 public:
  virtual ~Gradients() = default;
  /// Whether anybody asks for the gradient of t: it was watched, or computed from what was.
  virtual bool wants(const Tensor& t) const = 0;
  /// The gradient of t, as that view; zeros where nothing came.
  virtual Tensor of(const Tensor& t) = 0;
  struct Place {
    Tensor gradient{};
    bool accumulate = false;  ///< false: nothing was there, the contents are unset and are to be written whole
  };
  virtual Place place(const Tensor& t) = 0;
};

class Recorder {
 public:
  using Reverse = std::function<void(Gradients&)>;
  virtual ~Recorder() = default;
  /// Memory that lives as long as somebody holds it, contents unset.
  virtual Tensor take(const Shape& shape, DType dtype = DType::kF32) = 0;
  virtual bool wants(const Tensor& t) const = 0;
  /// `kept` must not be written until the reverse has run: it throws kStale then. Undefined tensors are left out.
  virtual void record(const char* op, const Tensor& out, const std::vector<Tensor>& kept, Reverse reverse) = 0;
  /// Runs `body`, which changes x in place, and keeps nothing of it but what x held before. The backward pass puts that back into x and runs `body` again,
  /// recorded this time, from there; so it must do the same each time, and what else it reads must stay.
  virtual void checkpoint(Tensor& x, const std::function<void()>& body) = 0;
};

}  // namespace clearhead
