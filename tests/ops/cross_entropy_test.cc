// Losses of rows and ln Σ e^x against double, on every backend, for logits of any magnitude.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "on_every_backend.h"
#include "ops/ops.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

double exact_log_sum_exp(const float* x, int64_t count) {
  const double largest = static_cast<double>(*std::max_element(x, x + count));
  double sum = 0;
  for (int64_t c = 0; c < count; ++c) sum += std::exp(static_cast<double>(x[c]) - largest);
  return largest + std::log(sum);
}

Tensor waves(Shape shape, float size, float shift) {
  Tensor tensor = Tensor::empty(std::move(shape));
  for (int64_t i = 0; i < tensor.numel(); ++i) tensor.mutable_data<float>()[i] = shift + size * std::sin(static_cast<float>(i) * 1.7F);
  return tensor;
}

TEST(LogSumExp, MatchesDoubleForAnyCountScaleAndShift) {
  on_every_backend([] {
    for (const int64_t count : {1, 2, 7, 16, 31, 1000, 1024, 1025, 5003}) {
      for (const float shift : {-300.0F, 0.0F, 300.0F}) {
        for (const float size : {0.0F, 3.0F, 200.0F}) {
          Tensor x = waves({count}, size, shift);
          ASSERT_NEAR(ops::log_sum_exp(x.data<float>(), count), exact_log_sum_exp(x.data<float>(), count), tolerance::kSum)
              << count << " logits of size " << size << " around " << shift;
          if (count == 1) continue;
          x.mutable_data<float>()[0] = -kInfinity;
          ASSERT_NEAR(ops::log_sum_exp(x.data<float>(), count), exact_log_sum_exp(x.data<float>(), count), tolerance::kSum) << count;
          x.mutable_data<float>()[count - 1] = std::nanf("");
          ASSERT_TRUE(std::isnan(ops::log_sum_exp(x.data<float>(), count))) << count;
          x.mutable_data<float>()[count - 1] = kInfinity;
          ASSERT_TRUE(std::isnan(ops::log_sum_exp(x.data<float>(), count))) << count;
        }
      }
    }
  });
}

TEST(Losses, MatchTheFormulaForEveryRow) {
  const Tensor logits = waves({5, 37}, 4, 1);
  const std::vector<int32_t> targets = {0, 36, 5, 17, 36};
  const Tensor losses = ops::losses(logits, targets);
  ASSERT_EQ(losses.shape(), (Shape{5}));
  for (int64_t row = 0; row < 5; ++row) {
    const float* x = logits.data<float>() + row * 37;
    EXPECT_NEAR(losses.data<float>()[row], exact_log_sum_exp(x, 37) - static_cast<double>(x[targets[static_cast<size_t>(row)]]),
                tolerance::kSum);
  }
}

// Softmax is invariant to a shift of the logits, and all logits of a model may be far below 0.
TEST(Losses, AndTheirGradientsAreAccurateForShiftedLogits) {
  on_every_backend([] {
    for (const float shift : {-300.0F, -20.0F, 20.0F, 300.0F}) {
      const Tensor logits = waves({1, 37}, 4, shift);
      const float* x = logits.data<float>();
      const int32_t target = 5;
      float loss = 0, log_sum_exp = 0;
      const float d_loss = 2;
      std::vector<float> d_logits(37);
      CrossEntropyCall call{.logits = x, .targets = &target, .rows = 1, .classes = 37, .smoothing = 0.1F};
      call.losses = &loss;
      call.log_sum_exp = &log_sum_exp;
      call.d_losses = &d_loss;
      call.d_logits = d_logits.data();
      backend().gradients.cross_entropy(call);
      backend().gradients.cross_entropy_gradient(call);
      const double whole = exact_log_sum_exp(x, 37);
      double mean = 0;
      for (int64_t c = 0; c < 37; ++c) mean += static_cast<double>(x[c]) / 37;
      EXPECT_NEAR(loss, whole - 0.9 * static_cast<double>(x[5]) - 0.1 * mean, tolerance::kLoss) << "at " << shift;
      for (int64_t c = 0; c < 37; ++c) {
        const double probability = std::exp(static_cast<double>(x[c]) - whole);
        EXPECT_NEAR(d_logits[static_cast<size_t>(c)], 2 * (probability - 0.1 / 37 - (c == 5 ? 0.9 : 0)), tolerance::kLoss)
            << "at " << shift;
      }
    }
  });
}

TEST(Losses, RefuseTargetsAndShapesThatDoNotFit) {
  const Tensor logits = waves({2, 3}, 1, 0);
  expect_refused(ErrorCode::kInvalidArgument, "cross_entropy: target 3; expected a class in [0, 3), or -100 for a row to ignore", [&] {
    ops::losses(logits, {0, 3});
  });
  expect_refused(ErrorCode::kShape,
                 "cross_entropy: logits are [2, 3], with 1 targets; expected contiguous [rows, classes], and one target per row",
                 [&] { ops::losses(logits, {0}); });
  expect_refused(ErrorCode::kShape,
                 "cross_entropy: logits are [6], with 1 targets; expected contiguous [rows, classes], and one target per row",
                 [&] { ops::losses(logits.reshape({6}), {0}); });
}

}  // namespace
}  // namespace clearhead
