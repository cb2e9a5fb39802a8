// The largest of many differences or magnitudes, for tests. std::max ignores NaN, and the maximum
// of nothing is 0: either would pass any bound.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace clearhead {

/// value() fails the test and returns infinity if nothing was added or a number was not finite.
class Largest {
 public:
  void add(double number) {
    ++count_;
    is_finite_ = is_finite_ && std::isfinite(number);
    largest_ = std::max(largest_, std::abs(number));
  }
  double value() const {
    EXPECT_GT(count_, 0) << "nothing was compared";
    EXPECT_TRUE(is_finite_) << "a number is not finite";
    return count_ > 0 && is_finite_ ? largest_ : INFINITY;
  }

 private:
  double largest_ = 0;
  int64_t count_ = 0;
  bool is_finite_ = true;
};

/// The largest |found − expected| of two contiguous arrays of `count` numbers.
template <class Float>
double largest_difference(const Float* found, const Float* expected, int64_t count) {
  Largest largest;
  for (int64_t i = 0; i < count; ++i) largest.add(static_cast<double>(found[i]) - static_cast<double>(expected[i]));
  return largest.value();
}

template <class Float>
double largest_magnitude(const Float* numbers, int64_t count) {
  Largest largest;
  for (int64_t i = 0; i < count; ++i) largest.add(static_cast<double>(numbers[i]));
  return largest.value();
}

}  // namespace clearhead
