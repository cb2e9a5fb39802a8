// Overlap of boxes and average precision, against cases computed by hand.
#include "metrics/detection.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace clearhead::metrics {
namespace {

Box corners(double left, double top, double right, double bottom) {
  return {(left + right) / 2, (top + bottom) / 2, right - left, bottom - top};
}

TEST(Detection, OverlapOfBoxesThatOverlapTouchAndLieApart) {
  const Box a = corners(0, 0, 2, 2);
  EXPECT_DOUBLE_EQ(intersection_over_union(a, corners(1, 0, 3, 2)), 1.0 / 3);  // 2 of 6
  EXPECT_DOUBLE_EQ(intersection_over_union(a, corners(2, 0, 4, 2)), 0);
  EXPECT_DOUBLE_EQ(intersection_over_union(a, a), 1);
  EXPECT_DOUBLE_EQ(generalised_iou(a, a).value, 1);
  // The smallest box around both is 6 × 2; the boxes cover 8 of 12.
  EXPECT_DOUBLE_EQ(generalised_iou(a, corners(4, 0, 6, 2)).value, 8.0 / 12 - 1);
}

TEST(Detection, TheGradientOfTheGeneralisedIouEqualsFiniteDifferences) {
  constexpr double kStep = 1e-6;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const auto draw = [&](uint64_t at, double from, double to) { return from + (to - from) * random_unit(seed, at); };
    const Box b{draw(0, 0, 1), draw(1, 0, 1), draw(2, 0.1, 0.6), draw(3, 0.1, 0.6)};
    Box a{draw(4, 0, 1), draw(5, 0, 1), draw(6, 0.1, 0.6), draw(7, 0.1, 0.6)};
    const GeneralisedIou at = generalised_iou(a, b);
    double* const numbers[] = {&a.x, &a.y, &a.width, &a.height};
    for (size_t number = 0; number < 4; ++number) {
      const double was = *numbers[number];
      *numbers[number] = was + kStep;
      const double above = generalised_iou(a, b).value;
      *numbers[number] = was - kStep;
      const double below = generalised_iou(a, b).value;
      *numbers[number] = was;
      EXPECT_NEAR(at.gradient[number], (above - below) / (2 * kStep), 1e-4) << "seed " << seed << ", number " << number;
    }
  }
}

// Class 0 has 3 boxes in two pictures. By rank, its detections are correct, false, correct, false (a second detection of a box):
// precision 1, 1/2, 2/3, 1/2 at recall 1/3, 1/3, 2/3, 2/3. Interpolated: 1 at recall 1/3, 2/3 at 2/3, 0 at 1. AP = (1 + 2/3) / 3 = 5/9.
// Class 1 has one box, and its only detection overlaps it by 1/3. Class 2 has no box. mAP@0.5 = (5/9 + 0) / 2, mAP@0.3 = (5/9 + 1) / 2.
TEST(Detection, MeanAveragePrecisionOfACaseComputedByHand) {
  const Box a = corners(0, 0, 2, 2), b = corners(4, 4, 6, 6), c = corners(8, 8, 9, 9);
  const std::vector<std::vector<LabelledBox>> expected = {{{0, a}, {0, b}, {1, a}}, {{0, c}}};
  const std::vector<std::vector<LabelledBox>> found = {{{0, a, 0.9}, {0, corners(0, 0, 2, 1.5), 0.3}, {1, corners(1, 0, 3, 2), 0.9}},
                                                       {{0, a, 0.8}, {0, c, 0.7}, {2, c, 0.99}}};
  EXPECT_DOUBLE_EQ(mean_average_precision(found, expected, 0.5), 5.0 / 18);
  EXPECT_DOUBLE_EQ(mean_average_precision(found, expected, 0.3), 7.0 / 9);
}

// By rank: false, correct, correct, with precision 0, 1/2, 2/3. Precision 2/3 is reached at every recall, because it is reached at recall 1.
TEST(Detection, PrecisionIsInterpolatedFromHigherRecall) {
  const Box a = corners(0, 0, 2, 2), b = corners(4, 4, 6, 6);
  EXPECT_DOUBLE_EQ(mean_average_precision({{{0, corners(8, 8, 9, 9), 0.9}, {0, a, 0.8}, {0, b, 0.7}}}, {{{0, a}, {0, b}}}, 0.5), 2.0 / 3);
}

TEST(Detection, ADetectionTakesTheFreeBoxThatItOverlapsMost) {
  const Box a = corners(0, 0, 2, 2), b = corners(0.5, 0, 2.5, 2);
  EXPECT_DOUBLE_EQ(mean_average_precision({{{0, b, 0.9}, {0, b, 0.8}}}, {{{0, a}, {0, b}}}, 0.5), 1);
  EXPECT_DOUBLE_EQ(mean_average_precision({{}}, {{{0, a}}}), 0);
  EXPECT_DOUBLE_EQ(mean_average_precision({{}}, {{}}), 0);
}

}  // namespace
}  // namespace clearhead::metrics
