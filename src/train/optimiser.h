// AdamW over the leaves of a tape.
#pragma once

#include <cstdint>
#include <vector>

#include "autograd/tape.h"
#include "clearhead/train.h"

namespace clearhead {

class Optimiser {
 public:
  explicit Optimiser(const AdamW& options) : options_(options) {}

  /// values: f32, contiguous, whole; watched by the tape that step() is given.
  void add(const Tensor& values, bool decays);
  /// Moves all by their gradients, clears these, and returns their norm before clipping. Throws kInvalidArgument where the norm is no number: nothing
  /// has moved then.
  double step(Tape& tape, double rate);
  int64_t steps() const { return steps_; }

 private:
  struct Part {
    Tensor values{}, m{}, v{};
    bool decays = false;
  };
  AdamW options_;
  std::vector<Part> parts_;
  int64_t steps_ = 0;
};

}  // namespace clearhead
