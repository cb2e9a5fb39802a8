// Feature maps of linear attention: values, slopes, and that attention over them approximates softmax attention.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "base/parallel.h"
#include "clearhead/attend.h"
#include "on_every_backend.h"
#include "refused.h"
#include "tolerance.h"

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
    EXPECT_NEAR(static_cast<double>(d_x.data<float>()[i]), slope, tolerance::kSlopeF32) << i;
  }
}

TEST(Features, EluPlusOneIsPositiveAndItsGradientMatchesDifferences) {
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
        EXPECT_NEAR(product, 0, tolerance::kSum) << a << " " << b;
      }
      if (a == b) squares += product / 20;
    }
  }
  EXPECT_NEAR(squares, 8, 3) << "norms must be those of normal vectors";
  EXPECT_EQ(orthogonal_projection(20, 8, 5).data<float>()[77], w.data<float>()[77]);
  EXPECT_NE(orthogonal_projection(20, 8, 6).data<float>()[77], w.data<float>()[77]);
}

TEST(Features, RandomFeaturesEstimateExpAndTheirGradientMatchesDifferences) {
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

TEST(Features, AttentionIsInvariantToTheShiftAndApproximatesSoftmax) {
  const Tensor q = normal(7, {1, 2, 200, 16}, 0.5F), k = normal(8, {1, 2, 200, 16}, 0.5F), v = normal(9, {1, 2, 200, 8});
  const Tensor w = orthogonal_projection(1024, 16, 3);
  const AttentionSpec spec{.topology = causal(), .normaliser = LinearAttention{}};
  const auto over = [&](FeatureShift queries, FeatureShift keys) {
    return attend(positive_random_features(q, w, queries), positive_random_features(k, w, keys), v, spec).out;
  };
  const Tensor plain = over(FeatureShift::kNone, FeatureShift::kNone), shifted = over(FeatureShift::kEachRow, FeatureShift::kAllRows);
  const Tensor softmax = attend(q, k, v, {.topology = causal()}).out;
  double error = 0;
  for (int64_t i = 0; i < plain.numel(); ++i) {
    ASSERT_NEAR(plain.data<float>()[i], shifted.data<float>()[i], tolerance::kSum) << i;
    error += std::abs(static_cast<double>(plain.data<float>()[i] - softmax.data<float>()[i])) / static_cast<double>(plain.numel());
  }
  EXPECT_LT(error, 0.02);
  const Tensor large = normal(7, {1, 2, 200, 16}, 30);  // exponents of several hundred
  const Tensor out = attend(positive_random_features(large, w, FeatureShift::kEachRow),
                            positive_random_features(large, w, FeatureShift::kAllRows), v, spec)
                         .out;
  for (int64_t i = 0; i < out.numel(); ++i) ASSERT_TRUE(std::isfinite(out.data<float>()[i])) << i;
}

// --- against the formulas in double, within the bounds of attend.h ---------------------------------------------------------------------------------

constexpr double kEpsilon = tolerance::kEpsilon, kSmallest = 0x1p-126;  // f32 may be 0 below it
constexpr float kInfinite = std::numeric_limits<float>::infinity(), kNotANumber = std::numeric_limits<float>::quiet_NaN();

double at(const Tensor& t, int64_t i) { return static_cast<double>(t.data<float>()[i]); }

TEST(Features, EluPlusOneAndItsGradientAreTheFormulaToAFewRoundings) {
  std::vector<float> values = {0, -0.0F, 1e-30F, -1e-30F, 3e38F, -3e38F, -87, -87.3365F, -87.34F, -88};
  for (int n = -4500; n < 4500; ++n) values.push_back(static_cast<float>(n) * 0.02F + 1e-4F * static_cast<float>(n % 7));
  const auto count = static_cast<int64_t>(values.size());
  const Tensor x = Tensor::from(values, {1, 2, count / 2, 1}), d = normal(2, x.shape());
  const Tensor y = elu_plus_one(x), d_x = elu_plus_one_gradient(x, d);
  for (int64_t i = 0; i < count; ++i) {
    const double e = std::exp(std::min(0.0, at(x, i))), expected = at(x, i) > 0 ? at(x, i) + 1 : e;
    ASSERT_NEAR(at(y, i), expected, 4 * kEpsilon * expected + kSmallest) << at(x, i);
    ASSERT_NEAR(at(d_x, i), e * at(d, i), (4 * kEpsilon * e + kSmallest) * std::abs(at(d, i)) + kSmallest) << at(x, i);
  }
}

TEST(Features, EluPlusOnePropagatesNaNAndHandlesInfinities) {
  const Tensor x = Tensor::from<float>({kNotANumber, kInfinite, -kInfinite, 1}, {1, 1, 1, 4}),
               ones = Tensor::from<float>({1, 1, 1, 1}, {1, 1, 1, 4});
  const Tensor y = elu_plus_one(x), d_x = elu_plus_one_gradient(x, ones);
  EXPECT_TRUE(std::isnan(at(y, 0)) && std::isnan(at(d_x, 0)));
  EXPECT_EQ(at(y, 1), static_cast<double>(kInfinite));
  EXPECT_EQ(at(d_x, 1), 1);
  EXPECT_EQ(at(y, 2), 0);
  EXPECT_EQ(at(d_x, 2), 0);
  EXPECT_EQ(at(y, 3), 2);
}

// exp(w·y − ‖y‖²/2 − c)/√m of every row and feature in double, and the magnitudes of which each exponent is the sum.
struct RandomReference {
  int64_t rows, m, d;
  double shrink;
  std::vector<double> exponents{}, sizes{}, values{}, errors{};  // [row, feature]; errors: the possible error of f32

  RandomReference(const Tensor& x, const Tensor& w, FeatureShift shift)
      : rows(x.numel() / x.size(3)), m(w.size(0)), d(w.size(1)), shrink(1 / std::sqrt(std::sqrt(static_cast<double>(d)))) {
    for (int64_t item = 0; item < rows * m; ++item) {
      double exponent = 0, size = 0;
      for (int64_t c = 0; c < d; ++c) {
        const double y = at(x, item / m * d + c) * shrink, weight = at(w, item % m * d + c);
        exponent += weight * y - y * y / 2;
        size += std::abs(weight * y) + y * y / 2;
      }
      exponents.push_back(exponent), sizes.push_back(size);
    }
    const int64_t shared = (shift == FeatureShift::kAllRows ? x.size(2) : 1) * m;  // number of elements with the same shift
    for (int64_t first = 0; first < rows * m; first += shared) {
      const auto begin = exponents.begin() + first, begin_sizes = sizes.begin() + first;
      const bool none = shift == FeatureShift::kNone;
      const double c = none ? 0 : *std::max_element(begin, begin + shared),
                   size = none ? 0 : *std::max_element(begin_sizes, begin_sizes + shared);
      for (auto i = static_cast<size_t>(first); i < static_cast<size_t>(first + shared); ++i) {
        values.push_back(std::exp(exponents[i] - c) / std::sqrt(static_cast<double>(m)));
        errors.push_back(values[i] * tolerance::weight(sizes[i] + size) + kSmallest);
      }
    }
  }
};

void expect_random_features(const Tensor& x, const Tensor& w, FeatureShift shift, const Tensor& of) {
  const RandomReference expected(x, w, shift);
  const Tensor features = positive_random_features(of, w, shift);
  ASSERT_EQ(features.numel(), std::ssize(expected.values));
  for (int64_t i = 0; i < features.numel(); ++i)
    ASSERT_NEAR(at(features, i), expected.values[static_cast<size_t>(i)], expected.errors[static_cast<size_t>(i)])
        << "feature " << i << ", shift " << static_cast<int>(shift);
}

const std::vector<FeatureShift> kShifts = {FeatureShift::kNone, FeatureShift::kEachRow, FeatureShift::kAllRows};

TEST(Features, RandomFeaturesAreTheFormulaForEveryShiftSizeAndStride) {
  struct Size {
    Shape x;
    int64_t m;
    float spread;
  };
  const std::vector<Size> sizes = {
      {{1, 1, 1, 1}, 1, 1}, {{1, 2, 7, 5}, 12, 1}, {{2, 3, 53, 17}, 33, 2}, {{1, 1, 97, 64}, 128, 1}, {{1, 2, 20, 16}, 24, 30}};
  for (const Size& size : sizes) {
    const Tensor x = normal(3, size.x, size.spread), w = orthogonal_projection(size.m, size.x[3], 4);
    const Tensor strided = x.permute({3, 2, 0, 1}).contiguous().permute({2, 3, 1, 0}),
                 turned = w.permute({1, 0}).contiguous().permute({1, 0});
    on_every_backend([&] {
      for (const FeatureShift shift : kShifts) {
        expect_random_features(x, w, shift, x);
        expect_random_features(x, w, shift, strided);
        expect_random_features(x, turned.contiguous(), shift, x);
      }
    });
    EXPECT_EQ(positive_random_features(x, turned, FeatureShift::kNone).data<float>()[0],
              positive_random_features(x, w, FeatureShift::kNone).data<float>()[0]);
  }
}

TEST(Features, TheGradientOfRandomFeaturesIsTheFormula) {
  for (const auto& [shape, m] : std::vector<std::pair<Shape, int64_t>>{{{1, 2, 7, 5}, 12}, {{2, 1, 50, 17}, 33}, {{1, 1, 97, 64}, 1100}}) {
    const Tensor x = normal(5, shape), w = orthogonal_projection(m, shape[3], 6), d = normal(7, {shape[0], shape[1], shape[2], m});
    const Tensor strided = d.permute({3, 2, 0, 1}).contiguous().permute({2, 3, 1, 0});
    for (const FeatureShift shift : kShifts) {
      const RandomReference of(x, w, shift);
      on_every_backend([&] {
        const Tensor features = positive_random_features(x, w, shift), d_x = positive_random_features_gradient(x, w, features, strided);
        for (int64_t i = 0; i < x.numel(); ++i) {
          const double y = at(x, i) * of.shrink;
          double expected = 0, sizes = 0, largest = 0;
          for (int64_t item = i / of.d * m; item < (i / of.d + 1) * m; ++item) {
            const double slope = at(d, item) * of.values[static_cast<size_t>(item)] * of.shrink, weight = at(w, item % m * of.d + i % of.d);
            expected += slope * (weight - y), sizes += std::abs(slope) * (std::abs(weight) + std::abs(y));
            largest = std::max(largest, of.errors[static_cast<size_t>(item)] / of.values[static_cast<size_t>(item)]);
          }
          ASSERT_NEAR(at(d_x, i), expected, (tolerance::kGradientF32 + largest) * sizes + kSmallest) << i;
        }
      });
    }
  }
}

TEST(Features, NonFiniteRowsGiveNaNAndLeaveOtherRowsUnchanged) {
  const Tensor w = orthogonal_projection(20, 6, 8);
  Tensor x = normal(9, {1, 2, 11, 6}, 3), clean = x.clone();
  const std::vector<std::pair<int64_t, float>> bad = {{2, kNotANumber}, {5, kInfinite}, {7, -kInfinite}, {15, kNotANumber}};
  for (const auto& [row, value] : bad) {
    x.mutable_data<float>()[row * 6 + 4] = value;
    for (int64_t c = 0; c < 6; ++c) clean.mutable_data<float>()[row * 6 + c] = clean.data<float>()[(row + 1) * 6 + c];
  }
  on_every_backend([&] {
    for (const FeatureShift shift : kShifts) {
      const Tensor features = positive_random_features(x, w, shift), expected = positive_random_features(clean, w, shift);
      for (int64_t i = 0; i < features.numel(); ++i) {
        const int64_t row = i / 20;
        const bool is_bad = row == 2 || row == 5 || row == 7 || row == 15;
        ASSERT_TRUE(is_bad ? std::isnan(at(features, i)) : at(features, i) == at(expected, i)) << row;
      }
    }
  });
}

TEST(Features, WithoutAShiftALargeExponentIsInfiniteAndASmallOneZero) {
  const Tensor x = Tensor::from<float>({20}, {1, 1, 1, 1}), w = Tensor::from<float>({20, -20, 14}, {3, 1});
  on_every_backend([&] {
    const Tensor features = positive_random_features(x, w, FeatureShift::kNone);
    EXPECT_EQ(features.data<float>()[0], kInfinite);  // e^200
    EXPECT_EQ(features.data<float>()[1], 0);          // e^-600
    EXPECT_NEAR(at(features, 2) / (std::exp(80.0) / std::sqrt(3.0)), 1, 4 * kEpsilon * 480);
  });
}

TEST(Features, ARowHasTheSameBitsInAnyBatchAndForAnyThreads) {
  const Tensor x = normal(10, {2, 3, 67, 32}), w = orthogonal_projection(48, 32, 9);
  const Tensor alone = x.slice(0, 1, 2).slice(1, 2, 3).slice(2, 40, 41);
  const int before = threads();
  on_every_backend([&] {
    for (const FeatureShift shift : {FeatureShift::kNone, FeatureShift::kEachRow}) {
      const Tensor one = positive_random_features(alone, w, shift), d = normal(11, {2, 3, 67, 48});
      const Tensor d_one = positive_random_features_gradient(alone, w, one, d.slice(0, 1, 2).slice(1, 2, 3).slice(2, 40, 41));
      for (const int count : {1, 2, 5}) {
        set_threads(count);
        const Tensor all = positive_random_features(x, w, shift), d_all = positive_random_features_gradient(x, w, all, d);
        for (int64_t r = 0; r < 48; ++r) ASSERT_EQ(at(all, ((3 + 2) * 67 + 40) * 48 + r), at(one, r)) << r;
        for (int64_t c = 0; c < 32; ++c) ASSERT_EQ(at(d_all, ((3 + 2) * 67 + 40) * 32 + c), at(d_one, c)) << c;
      }
    }
  });
  set_threads(before);
}

TEST(Features, EmptyInputsGiveEmptyOutputs) {
  const Tensor w = orthogonal_projection(3, 4, 1);
  for (const Shape& shape : {Shape{0, 2, 3, 4}, Shape{1, 0, 3, 4}, Shape{1, 2, 0, 4}}) {
    const Tensor x = Tensor::empty(shape);
    EXPECT_EQ(elu_plus_one(x).shape(), shape);
    EXPECT_EQ(elu_plus_one_gradient(x, x).shape(), shape);
    for (const FeatureShift shift : kShifts) {
      const Tensor features = positive_random_features(x, w, shift);
      EXPECT_EQ(features.shape(), (Shape{shape[0], shape[1], shape[2], 3}));
      EXPECT_EQ(positive_random_features_gradient(x, w, features, features).shape(), shape);
    }
  }
}

TEST(Features, RefuseOtherShapes) {
  const Tensor x = normal(1, {1, 1, 2, 4}), w = orthogonal_projection(3, 4, 1), features = normal(1, {1, 1, 2, 3});
  expect_refused(ErrorCode::kShape, "elu_plus_one: x is f32 [2, 4]; expected f32 [batch, head, length, d]", [&] {
    (void)elu_plus_one(x.reshape({2, 4}));
  });
  expect_refused(ErrorCode::kShape, "d_features is [1, 1, 2, 3]; expected f32 [1, 1, 2, 4]",
                 [&] { (void)elu_plus_one_gradient(x, features); });
  expect_refused(ErrorCode::kShape, "the projection is [4, 3]; expected f32 [features, 4]", [&] {
    (void)positive_random_features(x, w.permute({1, 0}), FeatureShift::kNone);
  });
  expect_refused(ErrorCode::kShape, "features is [1, 1, 2, 4]; expected f32 [1, 1, 2, 3]",
                 [&] { (void)positive_random_features_gradient(x, w, x, features); });
}

}  // namespace
}  // namespace clearhead
