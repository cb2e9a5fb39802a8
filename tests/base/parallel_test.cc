// The arithmetic of parallel_for's bodies.
#include "base/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>

namespace clearhead {
namespace {

float product_of_tiny_numbers() {
  volatile float a = 1e-20f, b = 1e-20f;
  return a * b;
}

float doubled(float tiny) {
  volatile float a = tiny;
  return a + a;
}

TEST(Parallel, SubnormalsAreZeroInEveryThreadAndTheCallersModeComesBack) {
  const float subnormal = std::numeric_limits<float>::denorm_min();
  for (const int64_t items : {1, 64}) {  // in the calling thread alone, and in all
    std::atomic<int64_t> given{0}, taken{0};
    parallel_for(items, [&](int64_t, int) {
      given += product_of_tiny_numbers() == 0;
      taken += doubled(subnormal) == 0;
      parallel_for(2, [](int64_t, int) {});  // a nested call must not end it
      given += product_of_tiny_numbers() == 0;
    });
    EXPECT_EQ(given, 2 * items);
    EXPECT_EQ(taken, items);
    EXPECT_GT(product_of_tiny_numbers(), 0);
    EXPECT_GT(doubled(subnormal), 0);
  }
}

}  // namespace
}  // namespace clearhead
