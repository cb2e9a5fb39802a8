// Classes, labels and numbers against scikit-learn and SciPy; what is refused.
#include "metrics/classification.h"

#include <limits>

#include "metrics/goldens.h"
#include "refused.h"

namespace clearhead::metrics {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(Classification, ScoresMatchScikitLearn) {
  for_each_case("classification", [](const Json& expected) {
    const auto found = classification(numbers<int32_t>(field(expected, "predicted")), numbers<int32_t>(field(expected, "expected")),
                                      static_cast<int32_t>(field(expected, "classes").integer()));
    expect_number(found.accuracy, field(expected, "accuracy"));
    expect_number(found.matthews, field(expected, "matthews"));
    ASSERT_EQ(found.classes.size(), field(expected, "scores").size());
    for (size_t k = 0; k < found.classes.size(); ++k) expect_score(found.classes[k], field(expected, "scores").items()[k]);
    expect_averages(found.average, expected);
  });
}

TEST(Classification, ASingleClassHasFullAccuracyAndZeroMatthews) {
  const auto found = classification(std::vector<int32_t>{1, 1}, std::vector<int32_t>{1, 1}, 3);
  EXPECT_EQ(found.accuracy, 1);
  EXPECT_EQ(found.average.macro.f1, 1);
  EXPECT_EQ(found.classes[0].f1, 0);
  EXPECT_EQ(found.matthews, 0);
}

TEST(Classification, RefusesInvalidClassesAndUnequalLengths) {
  const std::vector<int32_t> three{0, 1, 2}, wrong{0, 5, 1}, negative{0, 1, -1}, none;
  expect_refused(ErrorCode::kInvalidArgument, "classification: predicted[1] is 5; expected a class from 0 to 2",
                 [&] { classification(wrong, three, 3); });
  expect_refused(ErrorCode::kInvalidArgument, "classification: expected[2] is -1; expected a class from 0 to 2",
                 [&] { classification(three, negative, 3); });
  expect_refused(ErrorCode::kInvalidArgument, "classification: 3 examples against 0; the numbers must be equal",
                 [&] { classification(three, none, 3); });
  expect_refused(ErrorCode::kInvalidArgument, "classification: no examples; expected at least one", [&] { classification(none, none, 3); });
}

TEST(MultiLabel, ScoresMatchScikitLearn) {
  for_each_case("multi_label", [](const Json& expected) {
    const auto found = multi_label(numbers<uint8_t>(field(expected, "predicted")), numbers<uint8_t>(field(expected, "expected")),
                                   static_cast<size_t>(field(expected, "labels").integer()));
    expect_number(found.accuracy, field(expected, "accuracy"));
    ASSERT_EQ(found.labels.size(), field(expected, "scores").size());
    for (size_t k = 0; k < found.labels.size(); ++k) expect_score(found.labels[k], field(expected, "scores").items()[k]);
    expect_averages(found.average, expected);
  });
}

TEST(MultiLabel, RefusesNonBinaryValuesAndIncompleteRows) {
  const std::vector<uint8_t> bits{0, 1, 1}, two{0, 2, 1};
  expect_refused(ErrorCode::kInvalidArgument, "multi-label: predicted[1] is 2; expected 0 or 1", [&] { multi_label(two, bits, 3); });
  expect_refused(ErrorCode::kInvalidArgument, "multi-label: 3 values do not divide into rows of 2 labels; expected a multiple",
                 [&] { multi_label(bits, bits, 2); });
  expect_refused(ErrorCode::kInvalidArgument, "3 values do not divide into rows of 0 labels", [&] { multi_label(bits, bits, 0); });
}

TEST(Regression, ErrorsMatchScikitLearnAndCorrelationsMatchScipy) {
  for_each_case("regression", [](const Json& expected) {
    const Regression found = regression(numbers<double>(field(expected, "predicted")), numbers<double>(field(expected, "expected")));
    expect_number(found.mean_squared_error, field(expected, "mean_squared_error"));
    expect_number(found.mean_absolute_error, field(expected, "mean_absolute_error"));
    expect_number(found.pearson, field(expected, "pearson"));
    expect_number(found.spearman, field(expected, "spearman"));
  });
}

TEST(Regression, ConstantsHaveNoCorrelationAndHugeNumbersHaveOne) {
  const std::vector<double> one{3}, huge{1e200, 2e200, 3e200};
  EXPECT_TRUE(std::isnan(regression(one, one).pearson));
  EXPECT_EQ(regression(one, one).mean_squared_error, 0);
  EXPECT_NEAR(regression(huge, huge).pearson, 1, tolerance::kDouble);
}

TEST(Regression, RefusesNonFiniteAndMissingNumbers) {
  const std::vector<double> fine{1, 2}, broken{1, kNaN};
  expect_refused(ErrorCode::kInvalidArgument, "regression: predicted[1] is nan; expected a finite number",
                 [&] { regression(broken, fine); });
  expect_refused(ErrorCode::kInvalidArgument, "regression: no numbers", [&] { regression({}, {}); });
}

}  // namespace
}  // namespace clearhead::metrics
