// AdamW, Adam or SGD on the leaves of a tape, with parameter groups.
//
// A leaf may store several parameters one after another (q | k | v). A stretch is a range of its elements with the same settings.
// Stretches whose rate is 0 are frozen: they do not change, and the gradient norm does not include them, as with
// requires_grad=False in PyTorch.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "autograd/tape.h"
#include "clearhead/train.h"
#include "io/safetensors.h"
#include "text/regex.h"

namespace clearhead {

class Optimiser {
 public:
  /// Throws kInvalidArgument for options out of range or in conflict, kUnsupported for an invalid pattern of a group.
  explicit Optimiser(const OptimiserOptions& options);

  /// The name of elements [begin, end) of a leaf.
  struct Named {
    std::string name{};
    int64_t begin = 0, end = 0;
  };
  /// Adds a leaf. values: f32, contiguous, all elements of its storage. decays: apply OptimiserOptions::weight_decay, unless the
  /// group has its own. names: ordered by begin; elements without a name belong to no group. Returns false if the whole leaf is
  /// frozen; otherwise the tape that is passed to step() must watch it.
  bool add(const Tensor& values, bool decays, const std::vector<Named>& names);
  /// Throws kInvalidArgument, with the names of the parameters, for a group without parameters. A parameter belongs to the first
  /// group whose pattern matches its name.
  void check_groups() const;
  /// Updates all parameters, clears the gradients, and returns their norm before clipping. Throws kInvalidArgument if a gradient is
  /// not finite, naming the step and the first such parameter; then nothing has been updated.
  double step(Tape& tape, double rate);
  /// For checkpoints: the optimiser state of leaf number `at` (in the order of add()), by name; empty if it has none.
  std::vector<std::pair<const char*, Tensor>> sums(size_t at) const;
  /// Sets the number of steps that were taken before, to resume from a checkpoint.
  void go_on_from(int64_t steps) { steps_ = steps; }

 private:
  struct Stretch {
    int64_t begin = 0, end = 0;
    double rate = 1, decay = 0;
    bool moves() const { return rate > 0; }
  };
  struct Leaf {
    Tensor values{};
    Tensor first{}, second{};          // Adam's m and v, or SGD's momentum buffer; undefined if not used
    std::vector<Stretch> stretches{};  // those that are not frozen
    std::vector<Named> names{};
  };
  struct Group {
    ParameterGroup options;
    text::Regex pattern;
    bool matched = false;
  };
  Stretch stretch_of(const Named& named, bool decays);
  [[noreturn]] void fail_at_gradient(Tape& tape) const;
  void move(Leaf& leaf, const Stretch& stretch, const float* gradients, double rate, double scale);

  OptimiserOptions options_;
  std::vector<Group> groups_;
  std::vector<Leaf> leaves_;
  std::vector<std::string> names_;  // for the error message of check_groups, with * for numbers
  int64_t steps_ = 0;
};

/// The named tensors that are views of a leaf, in order. Each is a contiguous range of the leaf's elements.
std::vector<Optimiser::Named> names_in(const io::NamedTensors& named, const Tensor& leaf);

}  // namespace clearhead
