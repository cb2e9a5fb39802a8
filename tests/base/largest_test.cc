// The helper Largest must fail if it compared nothing, or a NaN.
#include "largest.h"

#include <gtest/gtest-spi.h>

namespace clearhead {
namespace {

TEST(Largest, ComparesMagnitudesAndFailsForEmptyOrNonFiniteInput) {
  const float numbers[] = {1, -3, 2}, others[] = {1, -3, 4};
  EXPECT_EQ(largest_magnitude(numbers, 3), 3);
  EXPECT_EQ(largest_difference(numbers, others, 3), 2);
  double found = 0;
  EXPECT_NONFATAL_FAILURE(found = largest_magnitude(numbers, 0), "nothing was compared");
  EXPECT_TRUE(std::isinf(found));
  for (const float wrong : {NAN, INFINITY}) {
    const float with[] = {1, wrong, 2};
    EXPECT_NONFATAL_FAILURE(found = largest_difference(with, numbers, 3), "not finite");
    EXPECT_TRUE(std::isinf(found));
  }
}

}  // namespace
}  // namespace clearhead
