// Convolution, pooling and batch norm in one and two dimensions, against differences of their formulas in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/gradient_case.h"
#include "clearhead/error.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

struct Case {
  const char* name;
  Shape x, weight;
  Convolution how{};
  bool bias = true;
};

size_t at(const Shape& shape, int64_t a, int64_t b, int64_t c, int64_t d) {
  return static_cast<size_t>(((a * shape[1] + b) * shape[2] + c) * shape[3] + d);
}

int64_t outputs(int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation = 1) {
  return (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
}

Values convolved(const Case& of, const std::vector<Values>& in) {
  const int64_t height = outputs(of.x[2], of.weight[2], of.how.stride[0], of.how.padding[0], of.how.dilation[0]);
  const int64_t width = outputs(of.x[3], of.weight[3], of.how.stride[1], of.how.padding[1], of.how.dilation[1]);
  const int64_t each = of.weight[0] / of.how.groups;
  Values out;
  for (int64_t n = 0; n < of.x[0]; ++n) {
    for (int64_t o = 0; o < of.weight[0]; ++o) {
      for (int64_t p = 0; p < height * width; ++p) {
        double sum = of.bias ? in[2][static_cast<size_t>(o)] : 0;
        for (int64_t c = 0; c < of.weight[1]; ++c) {
          for (int64_t i = 0; i < of.weight[2]; ++i) {
            for (int64_t j = 0; j < of.weight[3]; ++j) {
              const int64_t y = p / width * of.how.stride[0] + i * of.how.dilation[0] - of.how.padding[0];
              const int64_t x = p % width * of.how.stride[1] + j * of.how.dilation[1] - of.how.padding[1];
              if (y < 0 || x < 0 || y >= of.x[2] || x >= of.x[3]) continue;
              sum += in[1][at(of.weight, o, c, i, j)] * in[0][at(of.x, n, o / each * of.weight[1] + c, y, x)];
            }
          }
        }
        out.push_back(sum);
      }
    }
  }
  return out;
}

Tensor convolve(clearhead::Run& run, const Case& of, const std::vector<Tensor>& in) {
  Tensor out = run.take(ops::convolved_shape(in[0], in[1], of.how));
  ops::conv(run, in[0], in[1], of.bias ? in[2] : Tensor(), of.how, out);
  return out;
}

TEST_P(TapeOn, ConvolutionGradientsMatchFiniteDifferences) {
  const Case cases[] = {
      {"plain", {2, 3, 6, 5}, {4, 3, 3, 2}},
      {"strided and padded unevenly", {2, 2, 7, 8}, {3, 2, 3, 4}, {.stride = {2, 3}, .padding = {1, 2}}},
      {"dilated", {1, 2, 9, 9}, {2, 2, 3, 2}, {.stride = {2, 1}, .padding = {2, 0}, .dilation = {2, 3}}, false},
      {"in two groups", {2, 10, 4, 4}, {6, 5, 2, 2}, {.padding = {1, 1}, .groups = 2}},
      {"by depth", {2, 3, 5, 6}, {3, 1, 3, 3}, {.padding = {1, 1}, .groups = 3}},
      {"by depth, two each, strided", {1, 3, 6, 7}, {6, 1, 3, 3}, {.stride = {2, 2}, .padding = {1, 2}, .dilation = {1, 2}, .groups = 3}},
      {"pointwise", {2, 4, 3, 5}, {5, 4, 1, 1}, {}, false},
      {"pointwise, strided", {1, 3, 5, 5}, {2, 3, 1, 1}, {.stride = {2, 2}}},
      {"of a sequence", {2, 3, 1, 11}, {4, 3, 1, 5}, {.stride = {1, 2}, .padding = {0, 2}}},
      {"all of the plane", {2, 2, 3, 4}, {5, 2, 3, 4}},
      {"padding beyond the kernel", {1, 1, 2, 2}, {2, 1, 1, 2}, {.padding = {2, 3}}},
  };
  for (const Case& of : cases) {
    SCOPED_TRACE(of.name);
    std::vector<Tensor> inputs = {random_tensor(of.x, 51), random_tensor(of.weight, 52)};
    if (of.bias) inputs.push_back(random_tensor({of.weight[0]}, 53));
    expect_gradients(
        inputs, [&](clearhead::Run& run, std::vector<Tensor>& in) { return convolve(run, of, in); },
        [&](const std::vector<Values>& in) { return convolved(of, in); });
  }
}

// The input is computed and read by two convolutions, so its gradients must accumulate.
TEST_P(TapeOn, ConvolutionsOfOneInputAddTheirGradients) {
  for (const int64_t groups : {1, 2}) {
    const Case wide{"", {2, 4, 4, 5}, {2, 4 / groups, 1, 1}, {.groups = groups}, false};
    const Case tall{"", {2, 4, 4, 5}, {2, 4 / groups, 3, 3}, {.padding = {1, 1}, .groups = groups}, false};
    expect_gradients(
        {random_tensor(wide.x, 54), random_tensor(wide.weight, 55), random_tensor(tall.weight, 56)},
        [&](clearhead::Run& run, std::vector<Tensor>& in) {
          Tensor x = run.take(wide.x);
          ops::copy(run, in[0], x);
          Tensor out = convolve(run, tall, {x, in[2]});
          ops::add(run, convolve(run, wide, {x, in[1]}), out);
          return out;
        },
        [&](const std::vector<Values>& in) {
          Values out = convolved(tall, {in[0], in[2]});
          const Values more = convolved(wide, {in[0], in[1]});
          for (size_t i = 0; i < out.size(); ++i) out[i] += more[i];
          return out;
        });
  }
}

// Larger than a block: 40·9 rows of columns, 4,000 positions. The forward is compared with the formula, the backward with the reference,
// which has no blocks.
TEST_P(TapeOn, BlockedConvolutionMatchesTheFormulaAndTheReference) {
  const Case of{"", {1, 40, 8, 500}, {3, 40, 3, 3}, {.padding = {1, 1}}};
  const std::vector<Tensor> in = {random_tensor(of.x, 57), random_tensor(of.weight, 58, 0.1), random_tensor({3}, 59)};
  const auto pass = [&] {
    Arena arena;
    Tape tape;
    clearhead::Run run{arena, nullptr, &tape};
    for (const Tensor& input : in) tape.watch(input);
    const Tensor out = convolve(run, of, in);
    std::vector<Values> found = {values_of(out)};
    tape.backward(weighted_sum(run, out));
    for (const Tensor& input : in) found.push_back(values_of(tape.gradient(input)));
    return found;
  };
  const std::vector<Values> found = pass();
  choose_backend("ref");
  const std::vector<Values> reference = pass();
  const Values expected = convolved(of, {values_of(in[0]), values_of(in[1]), values_of(in[2])});
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(found[0][i], expected[i], tolerance::kResult) << i;
  const double bounds[] = {tolerance::kResult, tolerance::kLongSum,
                           tolerance::kLongSum};  // of the input; of weight and bias, which are sums over 4,000 positions
  for (size_t input = 0; input < 3; ++input) {
    for (size_t i = 0; i < found[input + 1].size(); ++i) {
      ASSERT_NEAR(found[input + 1][i], reference[input + 1][i], bounds[input]) << "input " << input << ", element " << i;
    }
  }
}

TEST_P(TapeOn, ConvolutionsPoolsAndBatchNormsHaveTheSameBitsForAnyThreads) {
  const Case cases[] = {
      {"plain", {3, 16, 28, 28}, {32, 16, 3, 3}, {.padding = {1, 1}}},
      {"by depth", {3, 24, 30, 30}, {24, 1, 3, 3}, {.padding = {1, 1}, .groups = 24}},
      {"by depth, strided", {3, 24, 30, 30}, {24, 1, 3, 3}, {.stride = {2, 2}, .groups = 24}},
      {"a sequence, in blocks", {1, 100, 1, 4000}, {40, 100, 1, 5}, {.padding = {0, 2}}},
      {"pointwise", {2, 64, 40, 40}, {96, 64, 1, 1}},
  };
  for (const Case& of : cases) {
    SCOPED_TRACE(of.name);
    const bool slow = backend().isa == InstructionSet::kReference;
    const Shape x = slow ? Shape{1, of.x[1], of.x[2] > 1 ? 4 : 1, 9} : of.x;
    expect_the_same_bits_for_any_threads({random_tensor(x, 60), random_tensor(of.weight, 61), random_tensor({of.weight[0]}, 62)},
                                         [&](clearhead::Run& run, std::vector<Tensor>& in) {
                                           const Tensor mid = convolve(run, of, in);
                                           Tensor normed = run.take(mid.shape()), mean = Tensor::zeros({mid.size(1)}),
                                                  variance = Tensor::zeros({mid.size(1)});
                                           ops::batch_norm(run, mid, {in[2], in[2], mean, variance}, normed);
                                           const PoolWindow window{.kernel = {1, 2}};
                                           Tensor out = run.take(ops::pooled_shape(mid, window));
                                           (of.how.groups > 1 ? ops::max_pool : ops::avg_pool)(run, normed, window, out);
                                           return out;
                                         });
  }
}

Values pooled(const Shape& x, const PoolWindow& how, bool largest, const Values& in) {
  const int64_t height = outputs(x[2], how.kernel[0], how.stride[0], how.padding[0]);
  const int64_t width = outputs(x[3], how.kernel[1], how.stride[1], how.padding[1]);
  Values out;
  for (int64_t plane = 0; plane < x[0] * x[1]; ++plane) {
    for (int64_t p = 0; p < height * width; ++p) {
      double most = -INFINITY, sum = 0;
      for (int64_t i = 0; i < how.kernel[0] * how.kernel[1]; ++i) {
        const int64_t row = p / width * how.stride[0] + i / how.kernel[1] - how.padding[0];
        const int64_t column = p % width * how.stride[1] + i % how.kernel[1] - how.padding[1];
        if (row < 0 || column < 0 || row >= x[2] || column >= x[3]) continue;
        const double value = in[at({1, x[0] * x[1], x[2], x[3]}, 0, plane, row, column)];
        most = std::max(most, value);
        sum += value;
      }
      out.push_back(largest ? most : sum / static_cast<double>(how.kernel[0] * how.kernel[1]));
    }
  }
  return out;
}

TEST_P(TapeOn, MaxAndAveragePoolGradientsMatchFiniteDifferences) {
  struct {
    Shape x;
    PoolWindow how;
  } cases[] = {{{2, 3, 6, 7}, {.kernel = {2, 2}, .stride = {2, 2}}},
               {{2, 2, 7, 5}, {.kernel = {3, 2}, .stride = {2, 1}, .padding = {1, 1}}},
               {{1, 3, 1, 12}, {.kernel = {1, 4}, .stride = {1, 3}, .padding = {0, 2}}},
               {{1, 2, 5, 5}, {.kernel = {3, 3}, .stride = {1, 1}, .padding = {2, 2}}}};
  for (auto& of : cases) {
    for (const bool largest : {true, false}) {
      const auto pool = largest ? ops::max_pool : ops::avg_pool;
      expect_gradients(
          {random_tensor(of.x, 63)},
          [&](clearhead::Run& run, std::vector<Tensor>& in) {  // twice, so that gradients accumulate
            Tensor out = run.take(ops::pooled_shape(in[0], of.how)), again = run.take(out.shape());
            pool(run, in[0], of.how, out);
            pool(run, in[0], of.how, again);
            ops::add(run, again, out);
            return out;
          },
          [&](const std::vector<Values>& in) {
            Values out = pooled(of.x, of.how, largest, in[0]);
            for (double& value : out) value *= 2;
            return out;
          });
    }
  }
}

Values batch_normed(const Shape& x, const std::vector<Values>& in, const Values* mean_given, const Values* variance_given) {
  const size_t channels = static_cast<size_t>(x[1]), positions = in[0].size() / static_cast<size_t>(x[0]) / channels;
  Values out(in[0].size());
  for (size_t c = 0; c < channels; ++c) {
    const auto each = [&](const auto& f) {
      for (size_t i = 0; i < out.size(); ++i) {
        if (i / positions % channels == c) f(i);
      }
    };
    const double count = static_cast<double>(static_cast<size_t>(x[0]) * positions);
    double mean = 0, variance = 0;
    each([&](size_t i) { mean += in[0][i] / count; });
    each([&](size_t i) { variance += (in[0][i] - mean) * (in[0][i] - mean) / count; });
    if (mean_given) mean = (*mean_given)[c], variance = (*variance_given)[c];
    each([&](size_t i) { out[i] = (in[0][i] - mean) / std::sqrt(variance + 1e-5) * in[1][c] + in[2][c]; });
  }
  return out;
}

TEST_P(TapeOn, BatchNormGradientsMatchFiniteDifferencesInTrainingAndEvaluation) {
  for (const Shape& shape : {Shape{7, 19}, Shape{3, 4, 5}, Shape{2, 3, 3, 4}}) {
    for (const bool training : {true, false}) {
      SCOPED_TRACE(to_string(shape) + (training ? " in training" : ""));
      const Tensor mean = random_tensor({shape[1]}, 64);
      Tensor variance = random_tensor({shape[1]}, 65);
      for (int64_t c = 0; c < shape[1]; ++c)
        variance.mutable_data<float>()[c] = 0.5F + variance.data<float>()[c] * variance.data<float>()[c];
      const Values mean_given = values_of(mean), variance_given = values_of(variance);
      expect_gradients(
          {random_tensor(shape, 66), random_tensor({shape[1]}, 67), random_tensor({shape[1]}, 68)},
          [&](clearhead::Run& run, std::vector<Tensor>& in) {
            Tensor out = run.take(shape);
            ops::batch_norm(run, in[0], {in[1], in[2], mean.clone(), variance.clone(), training}, out);
            return out;
          },
          [&](const std::vector<Values>& in) {
            return batch_normed(shape, in, training ? nullptr : &mean_given, training ? nullptr : &variance_given);
          });
    }
  }
}

TEST(Convolutions, MismatchedShapesAndInvalidOptionsAreRefused) {
  Arena arena;
  clearhead::Run run{arena};
  const auto x = Tensor::zeros({2, 4, 5, 6}), weight = Tensor::zeros({6, 2, 3, 3});
  const auto refused = [](const char* says, const auto& call) { expect_refused(ErrorCode::kShape, says, call); };
  const Convolution two{.groups = 2};
  Tensor out = Tensor::zeros({2, 6, 3, 4}), wrong = Tensor::zeros({2, 6, 3, 3}), six = Tensor::zeros({6}), five = Tensor::zeros({5});
  ops::conv(run, x, weight, six, two, out);
  refused("in 1 groups", [&] { ops::conv(run, x, weight, six, {}, out); });
  refused("in 4 groups", [&] { ops::conv(run, x, weight, six, {.groups = 4}, out); });
  refused("in 0 groups", [&] { ops::conv(run, x, weight, six, {.groups = 0}, out); });
  refused("out [2, 6, 3, 3]", [&] { ops::conv(run, x, weight, six, two, wrong); });
  refused("the bias [5]", [&] { ops::conv(run, x, weight, five, two, out); });
  refused("strided [2, 4, 5, 6]", [&] { ops::conv(run, Tensor::zeros({2, 5, 4, 6}).permute({0, 2, 1, 3}), weight, six, two, out); });
  refused("stride [0, 1]", [&] { ops::convolved_shape(x, weight, {.stride = {0, 1}, .groups = 2}); });
  refused("padding [-1, 0]", [&] { ops::convolved_shape(x, weight, {.padding = {-1, 0}, .groups = 2}); });
  refused("dilated by [3, 1], does not fit into [5, 6]", [&] { ops::convolved_shape(x, weight, {.dilation = {3, 1}, .groups = 2}); });
  refused("pooling: x is [6]", [&] { ops::pooled_shape(six, {}); });
  refused("a padding of [2, 0] for a kernel of [2, 2]", [&] { ops::pooled_shape(x, {.kernel = {2, 2}, .padding = {2, 0}}); });
  refused("does not fit into [5, 6]", [&] { ops::pooled_shape(x, {.kernel = {6, 2}}); });
  Tensor normed = Tensor::zeros(x.shape()), four = Tensor::zeros({4}), flat = Tensor::zeros({1, 4}), to = Tensor::zeros({1, 4});
  refused("running mean [5]", [&] { ops::batch_norm(run, x, {four, four, five, four}, normed); });
  refused("bias []", [&] { ops::batch_norm(run, x, {four, {}, four, four}, normed); });
  refused("two elements per channel", [&] { ops::batch_norm(run, flat, {four, four, four, four}, to); });
  ops::batch_norm(run, flat, {four, four, four, four, false}, to);
}

}  // namespace
}  // namespace clearhead
