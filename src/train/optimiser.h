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
  /// For checkpoints: AdamW's sums of the part that was added as number `at`, and the steps they are of.
  Tensor first_moment(size_t at) const { return parts_[at].m; }
  Tensor second_moment(size_t at) const { return parts_[at].v; }
  void go_on_from(int64_t steps) { steps_ = steps; }

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
