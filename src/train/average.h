// A running average of the weights (Polyak & Juditsky 1992; exponential, as in Kingma & Ba 2015, §7.2):
// mean += (1 − keep)·(weights − mean) after each step. In the first steps keep is at most (1 + step)/(10 + step), so
// the initial weights are soon forgotten.
#pragma once

#include <cstdint>
#include <vector>

#include "clearhead/tensor.h"

namespace clearhead::train {

class WeightAverage {
 public:
  /// keep: the decay of the average (Recipe::ema_decay). 0: no average; all functions do nothing.
  explicit WeightAverage(double keep) : keep_(keep) {}
  explicit operator bool() const { return keep_ > 0; }

  /// values: f32, contiguous.   moves: false for frozen values, which need no average
  void add(const Tensor& values, bool moves = true);
  /// Updates the average after step number `step`, which counts from 0.
  void follow(int64_t step);
  /// The average of tensor number `at`, in the order of add(), for checkpoints; undefined if there is none.
  Tensor mean(size_t at) const { return parts_[at].mean; }

  /// Swaps the weights and their average for as long as it exists.
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

}  // namespace clearhead::train
