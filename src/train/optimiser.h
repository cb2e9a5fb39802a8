// AdamW, Adam or SGD over the leaves of a tape, in groups.
//
// A leaf may hold several parameters, one after the other (q | k | v); what is stepped alike is one stretch of its elements.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "autograd/tape.h"
#include "clearhead/train.h"
#include "text/regex.h"

namespace clearhead {

class Optimiser {
 public:
  /// Throws kInvalidArgument for options that are out of range or do not go together, kUnsupported for a group's pattern that is none.
  explicit Optimiser(const OptimiserOptions& options);

  /// What elements [begin, end) of a leaf are called.
  struct Named {
    std::string name{};
    int64_t begin = 0, end = 0;
  };
  /// values: f32, contiguous, whole; watched by the tape that step() is given. names: in order of their begins; what is between them follows no group.
  void add(const Tensor& values, bool decays, const std::vector<Named>& names);
  /// Throws kInvalidArgument for a group that matches nothing of what was added, with the names there are.
  void check_groups() const;
  /// Moves all by their gradients, clears these, and returns their norm before clipping. Throws kInvalidArgument where the norm is no number: nothing
  /// has moved then.
  double step(Tape& tape, double rate);
  /// For checkpoints: what is kept from step to step of the leaf that was added as number `at`, by name, and the steps it is of.
  std::vector<std::pair<const char*, Tensor>> sums(size_t at) const;
  void go_on_from(int64_t steps) { steps_ = steps; }

 private:
  struct Stretch {
    int64_t begin = 0, end = 0;
    double rate = 1, decay = 0;
  };
  struct Leaf {
    Tensor values{};
    Tensor first{}, second{};  // m and v of Adam; the momentum's sum; undefined where the kind keeps none
    std::vector<Stretch> stretches{};
  };
  struct Group {
    ParameterGroup options;
    text::Regex pattern;
    bool matched = false;
  };
  Stretch stretch_of(const Named& named, bool decays);
  void move(Leaf& leaf, const Stretch& stretch, const float* gradients, double rate, double scale);

  OptimiserOptions options_;
  std::vector<Group> groups_;
  std::vector<Leaf> leaves_;
  std::vector<std::string> names_;  // as the refusal of a group tells them: numbers are *
  int64_t steps_ = 0;
};

}  // namespace clearhead
