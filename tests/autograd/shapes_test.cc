// Ops that change shapes: sums and maxima over an axis, products with broadcasting, concatenation, index_add; and softmax.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/gradient_case.h"
#include "clearhead/error.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

using ops::Reduction;

Shape without(Shape shape, int axis) {
  shape.erase(shape.begin() + axis);
  return shape;
}

// Reduces the middle axis of x [outer, size, inner].
Values reduced(Reduction reduction, const Values& x, size_t outer, size_t size, size_t inner) {
  Values out;
  for (size_t o = 0; o < outer; ++o) {
    for (size_t c = 0; c < inner; ++c) {
      Values along;
      for (size_t i = 0; i < size; ++i) along.push_back(x[(o * size + i) * inner + c]);
      const double sum = std::accumulate(along.begin(), along.end(), 0.0);
      out.push_back(reduction == Reduction::kSum    ? sum
                    : reduction == Reduction::kMean ? sum / static_cast<double>(size)
                                                    : *std::max_element(along.begin(), along.end()));
    }
  }
  return out;
}

TEST_P(TapeOn, SumMeanAndMaxGradientsMatchFiniteDifferencesOnEveryAxis) {
  const Shape shape = {3, 5, 7};
  for (const Reduction reduction : {Reduction::kSum, Reduction::kMean, Reduction::kMax}) {
    for (const int axis : {0, 1, 2, -1}) {
      SCOPED_TRACE(std::to_string(static_cast<int>(reduction)) + " over axis " + std::to_string(axis));
      const size_t at = static_cast<size_t>(axis < 0 ? axis + 3 : axis);
      size_t outer = 1, inner = 1;
      for (size_t i = 0; i < at; ++i) outer *= static_cast<size_t>(shape[i]);
      for (size_t i = at + 1; i < 3; ++i) inner *= static_cast<size_t>(shape[i]);
      expect_gradients(
          {random_tensor(shape, 31)},
          [&](clearhead::Run& run, std::vector<Tensor>& in) {
            Tensor out = run.take(without(shape, static_cast<int>(at)));
            ops::reduce(run, reduction, in[0], axis, out);
            return out;
          },
          [&](const std::vector<Values>& in) { return reduced(reduction, in[0], outer, static_cast<size_t>(shape[at]), inner); });
    }
  }
}

TEST_P(TapeOn, SumOfAViewHasTheGradientOfTheViewedTensor) {
  expect_gradients(
      {random_tensor({4, 6, 2}, 32)},
      [&](clearhead::Run& run, std::vector<Tensor>& in) {  // a [2, 3, 4] view of the watched tensor
        Tensor out = run.take({2, 4});
        ops::reduce(run, Reduction::kSum, in[0].slice(1, 2, 5).permute({2, 1, 0}), 1, out);
        return out;
      },
      [&](const std::vector<Values>& in) {
        Values out;
        for (size_t k = 0; k < 2; ++k) {
          for (size_t i = 0; i < 4; ++i) out.push_back(in[0][i * 12 + 4 + k] + in[0][i * 12 + 6 + k] + in[0][i * 12 + 8 + k]);
        }
        return out;
      });
}

TEST_P(TapeOn, MaxTakesTheFirstOfEqualElementsAndPropagatesNaN) {
  Arena arena;
  Tape tape;
  clearhead::Run run{arena, nullptr, &tape};
  const Tensor x = Tensor::from<float>({2, 7, 7, 1, NAN, 3, NAN, 9}, {2, 4});
  tape.watch(x);
  Tensor out = run.take({2});
  ops::reduce(run, Reduction::kMax, x, 1, out);
  EXPECT_EQ(out.data<float>()[0], 7);
  EXPECT_TRUE(std::isnan(out.data<float>()[1]));
  tape.backward(weighted_sum(run, out));
  const Values found = values_of(tape.gradient(x));
  for (size_t i = 0; i < 8; ++i) EXPECT_NEAR(found[i], i == 1 ? factor(0) : i == 4 ? factor(1) : 0, tolerance::kFew) << i;
}

TEST_P(TapeOn, MultiplyGradientsSumOverBroadcastAxes) {
  expect_gradients(
      {random_tensor({4, 3, 5}, 33), random_tensor({5}, 34), random_tensor({4, 1, 1}, 35)},
      [&](clearhead::Run& run, std::vector<Tensor>& in) {  // x ⊙ row ⊙ column ⊙ x, plus the row
        const Shape shape = {4, 3, 5};
        const Tensor row = in[1].reshape({1, 1, 5}).expand(shape);
        Tensor once = run.take(shape), twice = run.take(shape), out = run.take(shape);
        ops::multiply(run, in[0], row, once);
        ops::multiply(run, in[2].expand(shape), once, twice);
        ops::multiply(run, twice, in[0], out);
        ops::add(run, row, out);
        return out;
      },
      [&](const std::vector<Values>& in) {
        Values out;
        for (size_t i = 0; i < 60; ++i) out.push_back(in[0][i] * in[0][i] * in[1][i % 5] * in[2][i / 15] + in[1][i % 5]);
        return out;
      });
}

TEST_P(TapeOn, ASquareGetsBothOfItsGradients) {
  expect_gradients(
      {random_tensor({7}, 36)},
      [&](clearhead::Run& run, std::vector<Tensor>& in) {
        Tensor out = run.take({7});
        ops::multiply(run, in[0], in[0], out);
        return out;
      },
      [&](const std::vector<Values>& in) {
        Values out = in[0];
        for (double& value : out) value *= value;
        return out;
      });
}

// Split in three by slices, then concatenated in another order along another axis.
TEST_P(TapeOn, ConcatAndSliceGradientsMatchFiniteDifferences) {
  expect_gradients(
      {random_tensor({2, 6, 3}, 37), random_tensor({2, 2, 3}, 38)},
      [&](clearhead::Run& run, std::vector<Tensor>& in) {
        Tensor out = run.take({2, 2, 12});
        ops::concat(run, {in[0].slice(1, 4, 6), in[1], in[0].slice(1, 0, 2), in[0].slice(1, 2, 4)}, -1, out);
        return out;
      },
      [&](const std::vector<Values>& in) {
        Values out;
        for (size_t b = 0; b < 2; ++b) {
          for (size_t i = 0; i < 2; ++i) {
            for (const size_t first : {size_t{4}, size_t{9}, size_t{0}, size_t{2}}) {
              for (size_t c = 0; c < 3; ++c) {
                out.push_back(first == 9 ? in[1][(b * 2 + i) * 3 + c] : in[0][(b * 6 + first + i) * 3 + c]);
              }
            }
          }
        }
        return out;
      });
}

TEST_P(TapeOn, IndexAddGradientsMatchFiniteDifferences) {
  const std::vector<int32_t> rows = {4, 0, 4, 2};
  expect_gradients(
      {random_tensor({4, 3}, 39)},
      [&](clearhead::Run& run, std::vector<Tensor>& in) {
        Tensor out = run.take({5, 3}), sum = run.take({5, 3});
        ops::index_add(run, in[0], rows, out);
        ops::index_add(run, in[0], rows, sum);
        ops::add(run, out, sum);  // x is read twice
        return sum;
      },
      [&](const std::vector<Values>& in) {
        Values out(15, 0);
        for (size_t r = 0; r < 4; ++r) {
          for (size_t c = 0; c < 3; ++c) out[static_cast<size_t>(rows[r]) * 3 + c] += 2 * in[0][r * 3 + c];
        }
        return out;
      });
}

TEST_P(TapeOn, SoftmaxGradientsMatchFiniteDifferences) {
  expect_gradients(
      {random_tensor({2, 3, 13}, 40, 2)},
      [&](clearhead::Run& run, std::vector<Tensor>& in) {
        Tensor out = run.take({2, 3, 13});
        ops::softmax(run, in[0], out);
        return out;
      },
      [&](const std::vector<Values>& in) {
        Values out = in[0];
        for (size_t row = 0; row < 6; ++row) {
          double sum = 0;
          for (size_t c = 0; c < 13; ++c) sum += std::exp(in[0][row * 13 + c]);
          for (size_t c = 0; c < 13; ++c) out[row * 13 + c] = std::exp(in[0][row * 13 + c]) / sum;
        }
        return out;
      });
}

TEST_P(TapeOn, SoftmaxIgnoresMinusInfinityAndIsStableForLargeScores) {
  Arena arena;
  clearhead::Run run{arena};
  const Tensor x = Tensor::from<float>({-INFINITY, 1e4F, 1e4F, -1e4F}, {1, 4});
  Tensor out = run.take({1, 4});
  ops::softmax(run, x, out);
  EXPECT_EQ(values_of(out), (Values{0, 0.5, 0.5, 0}));
}

// Two sequences of two rows; the second has one column less.
const std::vector<int32_t> kCopied = {3, 0, 6, 5, 3, -1};
Values mixture(const std::vector<Values>& in) {
  Values out;
  for (size_t row = 0; row < 4; ++row) {
    const auto x = in[0].begin() + static_cast<std::ptrdiff_t>(row * 7);
    double sum = 0;
    for (size_t w = 0; w < 7; ++w) sum += std::exp(x[static_cast<std::ptrdiff_t>(w)]);
    const double p = 1 / (1 + std::exp(-in[1][row]));
    for (size_t w = 0; w < 7; ++w) {
      double copied = 0;
      for (size_t c = 0; c < 3; ++c) {
        if (kCopied[row / 2 * 3 + c] == static_cast<int32_t>(w)) copied = in[2][row * 3 + c];
      }
      out.push_back(std::log(p * std::exp(x[static_cast<std::ptrdiff_t>(w)]) / sum + (1 - p) * copied));
    }
  }
  return out;
}

TEST_P(TapeOn, PointerMixtureGradientsMatchFiniteDifferences) {
  Tensor shares = random_tensor({4, 3}, 46);
  for (int64_t i = 0; i < 12; ++i) shares.mutable_data<float>()[i] = 0.1F + std::abs(shares.data<float>()[i]);
  expect_gradients(
      {random_tensor({4, 7}, 44, 2), random_tensor({4, 1}, 45), shares},
      [&](clearhead::Run& run, std::vector<Tensor>& in) {
        Tensor out = run.take({4, 7});
        ops::pointer_mixture(run, in[0], in[1], in[2], kCopied, out);
        return out;
      },
      mixture);
}

TEST_P(TapeOn, PointerMixtureIsFiniteForTinyProbabilities) {
  Arena arena;
  clearhead::Run run{arena};
  const Tensor logits = Tensor::from<float>({0, -500, -500}, {1, 3}), gate = Tensor::from<float>({-200}, {1, 1}),
               copied = Tensor::from<float>({0, 1}, {1, 2});
  Tensor out = run.take({1, 3});
  ops::pointer_mixture(run, logits, gate, copied, {1, 2}, out);
  const Values found = values_of(out), expected = {-200, -700, 0};
  for (size_t w = 0; w < 3; ++w) EXPECT_NEAR(found[w], expected[w], 1e-4);
}

TEST_P(TapeOn, ReductionsProductsAndScattersHaveTheSameBitsForAnyThreads) {
  for (const int axis : {0, 1, 2}) {
    expect_the_same_bits_for_any_threads({random_tensor({70, 90, 33}, 41)}, [&](clearhead::Run& run, std::vector<Tensor>& in) {
      Tensor sum = run.take(without({70, 90, 33}, axis)), largest = run.take(sum.shape()), out = run.take(sum.shape());
      ops::reduce(run, Reduction::kMean, in[0], axis, sum);
      ops::reduce(run, Reduction::kMax, in[0], axis, largest);
      ops::multiply(run, sum, largest, out);
      return out;
    });
  }
  std::vector<int32_t> rows;
  for (int32_t r = 0; r < 900; ++r) rows.push_back(r * r % 37);
  expect_the_same_bits_for_any_threads({random_tensor({900, 65}, 42), random_tensor({1, 65}, 43)},
                                       [&](clearhead::Run& run, std::vector<Tensor>& in) {
                                         Tensor scaled = run.take({900, 65}), out = run.take({37, 65}), shares = run.take({37, 65});
                                         ops::multiply(run, in[0], in[1].expand({900, 65}), scaled);
                                         ops::index_add(run, scaled, rows, out);
                                         ops::softmax(run, out, shares);
                                         return shares;
                                       });
}

TEST(Shapes, MismatchedShapesAndInvalidIndicesAreRefused) {
  Arena arena;
  clearhead::Run run{arena};
  const Tensor x = Tensor::zeros({2, 3}), empty = Tensor::zeros({2, 0});
  Tensor wrong = Tensor::zeros({2, 2}), two = Tensor::zeros({2}), four = Tensor::zeros({4, 3});
  expect_refused(ErrorCode::kShape, "axis 0 of [2, 3] into [2]", [&] { ops::reduce(run, Reduction::kSum, x, 0, two); });
  expect_refused(ErrorCode::kShape, "axis 2 is out of range for shape", [&] { ops::reduce(run, Reduction::kSum, x, 2, two); });
  expect_refused(ErrorCode::kShape, "non-empty", [&] { ops::reduce(run, Reduction::kMax, empty, 1, two); });
  expect_refused(ErrorCode::kShape, "strided", [&] { ops::reduce(run, Reduction::kMax, four.permute({1, 0}).slice(1, 0, 2), 0, two); });
  expect_refused(ErrorCode::kShape, "multiply: [2, 3] by [2, 2]", [&] { ops::multiply(run, x, wrong, four); });
  expect_refused(ErrorCode::kShape, "a part of shape [2, 2]", [&] { ops::concat(run, {x, wrong}, 0, four); });
  expect_refused(ErrorCode::kShape, "the parts add up to 2 on axis 0", [&] { ops::concat(run, {x}, 0, four); });
  expect_refused(ErrorCode::kShape, "at offset 2 of axis 0 does not fit out", [&] {
    ops::concat(run, {x, Tensor::zeros({3, 3})}, 0, four);
  });
  expect_refused(ErrorCode::kShape, "3 row indices, x is [2, 3]", [&] { ops::index_add(run, x, {0, 1, 2}, four); });
  expect_refused(ErrorCode::kInvalidArgument, "row 4; expected a row in [0, 4)", [&] { ops::index_add(run, x, {0, 4}, four); });
  expect_refused(ErrorCode::kShape, "softmax: x is [2, 3], out [2, 2]", [&] { ops::softmax(run, x, wrong); });
  Tensor mixed = Tensor::zeros({2, 3});
  const Tensor gate = Tensor::zeros({2, 1});
  expect_refused(ErrorCode::kShape, "copied [4, 3], 3 tokens", [&] { ops::pointer_mixture(run, x, gate, four, {0, 1, 2}, mixed); });
  expect_refused(ErrorCode::kShape, "copied [2, 3], 9 tokens", [&] {
    ops::pointer_mixture(run, x, gate, x, {0, 1, 2, 0, 1, 2, 0, 1, 2}, mixed);
  });
  expect_refused(ErrorCode::kInvalidArgument, "token 3; expected a token id in [0, 3)", [&] {
    ops::pointer_mixture(run, x, gate, x, {0, 3, 1}, mixed);
  });
}

}  // namespace
}  // namespace clearhead
