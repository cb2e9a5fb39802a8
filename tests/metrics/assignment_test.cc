// The assignment problem, against the best of all permutations.
#include "metrics/assignment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/random.h"
#include "refused.h"

namespace clearhead::metrics {
namespace {

double sum_of(const std::vector<double>& cost, int64_t columns, const std::vector<int64_t>& column_of) {
  double sum = 0;
  for (size_t row = 0; row < column_of.size(); ++row) sum += cost[row * static_cast<size_t>(columns) + static_cast<size_t>(column_of[row])];
  return sum;
}

// The smallest cost of all injective maps from rows to columns.
double smallest(const std::vector<double>& cost, int64_t rows, int64_t columns) {
  std::vector<int64_t> order(static_cast<size_t>(columns));
  std::iota(order.begin(), order.end(), int64_t{0});
  double best = std::numeric_limits<double>::infinity();
  do {
    best = std::min(best, sum_of(cost, columns, {order.begin(), order.begin() + rows}));
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

std::vector<double> random_costs(int64_t count, uint64_t seed, bool has_ties) {
  std::vector<double> out;
  for (int64_t at = 0; at < count; ++at) {
    const double value = 10 * random_unit(seed, static_cast<uint64_t>(at)) - 5;
    out.push_back(has_ties ? std::round(value / 2) : value);
  }
  return out;
}

TEST(Assignment, CostsTheSameAsTheBestOfAllPermutations) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    RandomSequence random(seed);
    const auto columns = static_cast<int64_t>(1 + random.roll(6)),
               rows = static_cast<int64_t>(random.roll(static_cast<size_t>(columns) + 1));
    const std::vector<double> cost = random_costs(rows * columns, seed, seed % 2 == 0);
    const std::vector<int64_t> found = assign(cost, rows, columns);
    ASSERT_EQ(static_cast<int64_t>(found.size()), rows);
    std::vector<int64_t> distinct = found;
    std::sort(distinct.begin(), distinct.end());
    ASSERT_EQ(std::unique(distinct.begin(), distinct.end()), distinct.end()) << "seed " << seed;
    ASSERT_NEAR(sum_of(cost, columns, found), smallest(cost, rows, columns), 1e-12) << "seed " << seed;
  }
}

TEST(Assignment, RefusesMoreRowsThanColumnsAndCostsThatAreNotFinite) {
  expect_refused(ErrorCode::kInvalidArgument, "rows <= columns", [] { assign(std::vector<double>{1, 2}, 2, 1); });
  const double nan = std::numeric_limits<double>::quiet_NaN();
  expect_refused(ErrorCode::kInvalidArgument, "NaN", [&] { assign(std::vector<double>{1, nan}, 1, 2); });
}

}  // namespace
}  // namespace clearhead::metrics
