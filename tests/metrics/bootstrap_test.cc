// The bootstrap against NumPy with the same draws, and against SciPy with its own draws.
#include "metrics/bootstrap.h"

#include <algorithm>

#include "base/parallel.h"
#include "metrics/goldens.h"
#include "refused.h"

namespace clearhead::metrics {
namespace {

std::vector<double> flat(const Interval& found) { return {found.mean, found.low, found.high}; }

TEST(Bootstrap, IntervalsAndDifferencesMatchNumpyOverTheSameDraws) {
  for_each_case("bootstrap", [](const Json& expected) {
    const auto first = numbers<double>(field(expected, "first")), second = numbers<double>(field(expected, "second"));
    const BootstrapOptions options{field(expected, "resamples").integer(), field(expected, "confidence").number(),
                                   static_cast<uint64_t>(field(expected, "seed").integer())};
    expect_numbers(flat(bootstrap_mean(first, options)), field(expected, "mean"));
    const PairedDifference found = paired_bootstrap(first, second, options);
    expect_numbers(flat(found.difference), field(expected, "difference"));
    expect_number(found.p, field(expected, "p"));
  });
}

// SciPy draws 100,000 resamples and this code 20,000: a percentile's standard errors are 0.2 % and 0.5 % of the width. A t-test's p differs
// only by its normal distribution.
TEST(Bootstrap, IntervalsMatchScipyAndPValuesApproximateTheTTest) {
  for_each_case("large_bootstrap", [](const Json& expected) {
    const auto first = numbers<double>(field(expected, "first")), second = numbers<double>(field(expected, "second"));
    const BootstrapOptions options{.resamples = 20000};
    const Interval found = bootstrap_mean(first, options);
    const auto theirs = numbers<double>(field(expected, "interval"));
    EXPECT_NEAR(found.low, theirs[0], (theirs[1] - theirs[0]) / 50);
    EXPECT_NEAR(found.high, theirs[1], (theirs[1] - theirs[0]) / 50);
    EXPECT_NEAR(paired_bootstrap(first, second, options).p, field(expected, "p").number(), 0.02);
  });
}

TEST(Bootstrap, TheSameSeedHasTheSameBitsForAnyNumberOfThreads) {
  const std::vector<double> values{0.1, 0.7, 0.2, 0.9, 0.4};
  const int before = threads();
  set_threads(1);
  const Interval alone = bootstrap_mean(values, {.seed = 7});
  set_threads(4);
  const Interval together = bootstrap_mean(values, {.seed = 7}), other = bootstrap_mean(values, {.seed = 8});
  set_threads(before);
  EXPECT_EQ(flat(alone), flat(together));
  EXPECT_NE(flat(alone), flat(other));
}

TEST(Bootstrap, ASystemIsNotBetterThanItself) {
  const std::vector<double> values{0, 1, 1, 0, 1}, one{0.5};
  const PairedDifference found = paired_bootstrap(values, values);
  EXPECT_EQ(found.p, 1);
  EXPECT_EQ(flat(found.difference), (std::vector<double>{0, 0, 0}));
  EXPECT_EQ(flat(bootstrap_mean(one)), (std::vector<double>{0.5, 0.5, 0.5}));
}

TEST(Bootstrap, ChangingSidesChangesTheSignOnly) {
  const std::vector<double> first{1, 0, 1, 1, 0, 1, 1}, second{0, 0, 1, 0, 1, 1, 0};
  const PairedDifference found = paired_bootstrap(first, second), reversed = paired_bootstrap(second, first);
  EXPECT_EQ(found.difference.mean, -reversed.difference.mean);
  EXPECT_NEAR(found.difference.low, -reversed.difference.high, tolerance::kDouble);
  EXPECT_EQ(found.p, reversed.p);
}

TEST(Bootstrap, RefusesEmptyValuesAndInvalidOptions) {
  const std::vector<double> values{1, 2};
  expect_refused(ErrorCode::kInvalidArgument, "bootstrap: no values; expected at least one", [] { bootstrap_mean({}); });
  expect_refused(ErrorCode::kInvalidArgument, "bootstrap: 0 resamples; expected at least one",
                 [&] { bootstrap_mean(values, {.resamples = 0}); });
  expect_refused(ErrorCode::kInvalidArgument, "bootstrap: confidence 1.5; expected 0 … 1",
                 [&] { bootstrap_mean(values, {.confidence = 1.5}); });
  expect_refused(ErrorCode::kInvalidArgument, "paired bootstrap: 2 values against 1", [&] {
    paired_bootstrap(values, {values.data(), 1});
  });
}

}  // namespace
}  // namespace clearhead::metrics
