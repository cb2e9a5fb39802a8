// Feature maps of linear attention: values, slopes, and that attention over them is what it stands in for.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "clearhead/attend.h"

namespace clearhead {
namespace {

Tensor normal(uint32_t seed, Shape shape, float deviation = 1) {
  std::mt19937 random(seed);
  Tensor out = Tensor::empty(std::move(shape));
  for (int64_t i = 0; i < out.numel(); ++i) {
    double sum = -2;
    for (int n = 0; n < 4; ++n) sum += static_cast<double>(random()) * 0x1p-32;
    out.mutable_data<float>()[i] = deviation * static_cast<float>(sum * std::sqrt(3.0));
  }
  return out;
}

double weighted_sum(const Tensor& features, const Tensor& d_features) {
  double sum = 0;
  for (int64_t i = 0; i < features.numel(); ++i)
    sum += static_cast<double>(features.data<float>()[i]) * static_cast<double>(d_features.data<float>()[i]);
  return sum;
}

void expect_slopes(const Tensor& x, const Tensor& d_features, const Tensor& d_x, const std::function<Tensor(const Tensor&)>& map) {
  for (int64_t i = 0; i < x.numel(); i += 5) {
    Tensor above = x.clone(), below = x.clone();
    above.mutable_data<float>()[i] += 0x1p-7F;
    below.mutable_data<float>()[i] -= 0x1p-7F;
    const double slope = (weighted_sum(map(above), d_features) - weighted_sum(map(below), d_features)) / 0x1p-6;
    EXPECT_NEAR(static_cast<double>(d_x.data<float>()[i]), slope, 5e-3) << i;
  }
}

TEST(Features, EluPlusOneIsPositiveAndHasItsSlope) {
  const Tensor x = Tensor::from<float>({-2, 0, 3, -60}, {1, 1, 2, 2}), y = elu_plus_one(x);
  EXPECT_FLOAT_EQ(y.data<float>()[0], std::exp(-2.0F));
  EXPECT_EQ(y.data<float>()[1], 1);
  EXPECT_EQ(y.data<float>()[2], 4);
  EXPECT_GT(y.data<float>()[3], 0);
  const Tensor some = normal(1, {1, 2, 10, 6}), d = normal(2, {1, 2, 10, 6});
  expect_slopes(some, d, elu_plus_one_gradient(some, d), elu_plus_one);
  EXPECT_EQ(elu_plus_one(some.permute({0, 1, 3, 2})).data<float>()[1], elu_plus_one(some).data<float>()[6]) << "strides";
}

TEST(Features, ProjectionsAreOrthogonalWithinEachBlockAndFollowFromTheirSeed) {
  const Tensor w = orthogonal_projection(20, 8, 5);
  double squares = 0;
  for (int64_t a = 0; a < 20; ++a) {
    for (int64_t b = 0; b < 20; ++b) {
      double product = 0;
      for (int64_t c = 0; c < 8; ++c)
        product += static_cast<double>(w.data<float>()[a * 8 + c]) * static_cast<double>(w.data<float>()[b * 8 + c]);
      if (a != b && a / 8 == b / 8) {
        EXPECT_NEAR(product, 0, 1e-5) << a << " " << b;
      }
      if (a == b) squares += product / 20;
    }
  }
  EXPECT_NEAR(squares, 8, 3) << "lengths are those of normal vectors";
  EXPECT_EQ(orthogonal_projection(20, 8, 5).data<float>()[77], w.data<float>()[77]);
  EXPECT_NE(orthogonal_projection(20, 8, 6).data<float>()[77], w.data<float>()[77]);
}

TEST(Features, RandomFeaturesEstimateTheExponentialAndHaveTheirSlope) {
  const Tensor w = orthogonal_projection(4096, 16, 1), q = normal(3, {1, 1, 6, 16}, 0.5F), k = normal(4, {1, 1, 6, 16}, 0.5F);
  const Tensor a = positive_random_features(q, w, FeatureShift::kNone), b = positive_random_features(k, w, FeatureShift::kNone);
  for (int64_t i = 0; i < 6; ++i) {
    double product = 0, estimate = 0;
    for (int64_t c = 0; c < 16; ++c)
      product += static_cast<double>(q.data<float>()[i * 16 + c]) * static_cast<double>(k.data<float>()[i * 16 + c]);
    for (int64_t r = 0; r < 4096; ++r)
      estimate += static_cast<double>(a.data<float>()[i * 4096 + r]) * static_cast<double>(b.data<float>()[i * 4096 + r]);
    EXPECT_NEAR(estimate / std::exp(product / 4), 1, 0.25) << i;
  }
  const Tensor few = orthogonal_projection(12, 5, 2), x = normal(5, {1, 2, 7, 5}), d = normal(6, {1, 2, 7, 12});
  const auto map = [&](const Tensor& of) { return positive_random_features(of, few, FeatureShift::kNone); };
  expect_slopes(x, d, positive_random_features_gradient(x, few, map(x), d), map);
}

TEST(Features, AttentionOverThemDoesNotKnowTheirShiftAndIsNearSoftmax) {
  const Tensor q = normal(7, {1, 2, 200, 16}, 0.5F), k = normal(8, {1, 2, 200, 16}, 0.5F), v = normal(9, {1, 2, 200, 8});
  const Tensor w = orthogonal_projection(1024, 16, 3);
  const AttentionSpec spec{.topology = causal(), .normaliser = Linear{}};
  const auto over = [&](FeatureShift queries, FeatureShift keys) {
    return attend(positive_random_features(q, w, queries), positive_random_features(k, w, keys), v, spec).out;
  };
  const Tensor plain = over(FeatureShift::kNone, FeatureShift::kNone), shifted = over(FeatureShift::kEachRow, FeatureShift::kAllRows);
  const Tensor softmax = attend(q, k, v, {.topology = causal()}).out;
  double error = 0;
  for (int64_t i = 0; i < plain.numel(); ++i) {
    ASSERT_NEAR(plain.data<float>()[i], shifted.data<float>()[i], 1e-5) << i;
    error += std::abs(static_cast<double>(plain.data<float>()[i] - softmax.data<float>()[i])) / static_cast<double>(plain.numel());
  }
  EXPECT_LT(error, 0.02);
  const Tensor large = normal(7, {1, 2, 200, 16}, 30);  // exponents in the hundreds
  const Tensor out = attend(positive_random_features(large, w, FeatureShift::kEachRow),
                            positive_random_features(large, w, FeatureShift::kAllRows), v, spec)
                         .out;
  for (int64_t i = 0; i < out.numel(); ++i) ASSERT_TRUE(std::isfinite(out.data<float>()[i])) << i;
}

}  // namespace
}  // namespace clearhead
