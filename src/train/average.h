// The running mean of weights (Polyak & Juditsky 1992; exponential, as Kingma & Ba 2015, §7.2): mean += (1 − keep)·(weights − mean) after each step, with a smaller
// `keep` in the first steps, (1 + step)/(10 + step), so that the beginning is soon forgotten.
#pragma once

#include <cstdint>
#include <vector>

#include "clearhead/tensor.h"

namespace clearhead {

class WeightAverage {
 public:
  /// keep 0: there is no mean, and nothing below does anything.
  explicit WeightAverage(double keep) : keep_(keep) {}
  explicit operator bool() const { return keep_ > 0; }

  /// values: f32, contiguous.
  void add(const Tensor& values);
  /// After step number `step`, from 0.
  void follow(int64_t step);
  /// Of what was added as number `at`; for checkpoints.
  Tensor mean(size_t at) const { return parts_[at].mean; }

  /// While it lives the weights hold their mean, and the mean the weights.
  class Shown {
   public:
    explicit Shown(WeightAverage& average) : average_(average) { average_.exchange(); }
    ~Shown() { average_.exchange(); }
    Shown(const Shown&) = delete;
    Shown& operator=(const Shown&) = delete;

   private:
    WeightAverage& average_;
  };

 private:
  void exchange();
  struct Part {
    Tensor values{}, mean{};
  };
  double keep_;
  std::vector<Part> parts_{};
};

}  // namespace clearhead
