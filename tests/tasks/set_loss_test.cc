// The set loss of a detector: its value by hand, its matching, and its gradient against finite differences.
#include "tasks/data/set_loss.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "refused.h"

namespace clearhead::tasks {
namespace {

constexpr int64_t kQueries = 4, kClasses = 3, kNumbers = kClasses + 5;

std::vector<float> random_outputs(uint64_t seed) {
  std::vector<float> out;
  for (int64_t at = 0; at < kQueries * kNumbers; ++at) {
    const bool is_logit = at % kNumbers <= kClasses;
    const double unit = random_unit(seed, static_cast<uint64_t>(at));
    out.push_back(static_cast<float>(is_logit ? 4 * unit - 2 : 0.2 + 0.5 * unit));
  }
  return out;
}

const std::vector<metrics::LabelledBox> kObjects = {{2, {0.3, 0.3, 0.2, 0.4}}, {0, {0.7, 0.6, 0.3, 0.3}}};

TEST(SetLoss, OfOutputsWhoseMatchIsObviousEqualsTheFormula) {
  std::vector<float> outputs(kQueries * kNumbers, 0);
  const auto set = [&](int64_t query, int64_t label, const metrics::Box& box) {
    float* row = outputs.data() + query * kNumbers;
    row[label] = 3;
    const double numbers[] = {box.x, box.y, box.width, box.height};
    for (size_t at = 0; at < 4; ++at) row[kClasses + 1 + static_cast<int64_t>(at)] = static_cast<float>(numbers[at]);
  };
  set(0, kClasses, {0.5, 0.5, 0.1, 0.1});
  set(1, 0, {0.7, 0.6, 0.3, 0.3});  // exact
  set(2, kClasses, {0.5, 0.9, 0.1, 0.1});
  set(3, 2, {0.35, 0.3, 0.2, 0.4});  // 0.05 too far to the right: IoU = 0.15 / 0.25, which is also the GIoU
  const SetLoss loss = set_loss(outputs.data(), kQueries, kClasses, kObjects, {.class_cost = 1, .box = 5, .overlap = 2, .no_object = 0.1});
  EXPECT_EQ(loss.query_of, (std::vector<int64_t>{3, 1}));
  const double entropy = std::log(1 + 3 * std::exp(-3.0));  // of a query with logits 3, 0, 0, 0 and the target of the 3
  EXPECT_NEAR(loss.value, 2.2 * entropy + 5 * 0.05 + 2 * (1 - 0.6), 1e-6);
}

TEST(SetLoss, ItsGradientEqualsFiniteDifferences) {
  constexpr float kStep = 1e-3F;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<float> outputs = random_outputs(seed);
    const SetLoss at = set_loss(outputs.data(), kQueries, kClasses, kObjects, {});
    for (size_t number = 0; number < outputs.size(); ++number) {
      const float was = outputs[number];
      outputs[number] = was + kStep;
      const SetLoss above = set_loss(outputs.data(), kQueries, kClasses, kObjects, {});
      outputs[number] = was - kStep;
      const SetLoss below = set_loss(outputs.data(), kQueries, kClasses, kObjects, {});
      outputs[number] = was;
      if (above.query_of != at.query_of || below.query_of != at.query_of) continue;
      const double step = static_cast<double>(was + kStep) - static_cast<double>(was - kStep);
      const double before = (at.value - below.value) / step * 2, after = (above.value - at.value) / step * 2;
      if (std::abs(before - after) > 0.05) continue;  // a kink of |x| or of an edge of an intersection lies between
      EXPECT_NEAR(at.gradient[number], (above.value - below.value) / step, 0.02) << "seed " << seed << ", number " << number;
    }
  }
}

TEST(SetLoss, WithoutObjectsIsTheCrossEntropyOfNoObject) {
  const std::vector<float> outputs(kQueries * kNumbers, 0);
  const SetLoss loss = set_loss(outputs.data(), kQueries, kClasses, {}, {.no_object = 0.5});
  EXPECT_NEAR(loss.value, 0.5 * kQueries * std::log(4.0), 1e-6);
  for (int64_t query = 0; query < kQueries; ++query) {
    for (int64_t at = kClasses + 1; at < kNumbers; ++at) EXPECT_EQ(loss.gradient[static_cast<size_t>(query * kNumbers + at)], 0);
  }
}

TEST(SetLoss, RefusesMoreObjectsThanQueriesAndOutputsThatAreNotFinite) {
  const std::vector<metrics::LabelledBox> many(kQueries + 1, kObjects[0]);
  std::vector<float> outputs = random_outputs(1);
  expect_refused(ErrorCode::kInvalidArgument, "rows <= columns", [&] { set_loss(outputs.data(), kQueries, kClasses, many, {}); });
  outputs[5] = std::nanf("");
  expect_refused(ErrorCode::kInvalidArgument, "not finite", [&] { set_loss(outputs.data(), kQueries, kClasses, kObjects, {}); });
}

}  // namespace
}  // namespace clearhead::tasks
