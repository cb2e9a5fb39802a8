// The dense ops of every backend against the reference's loops in double: every op, epilogue, dtype and awkward size.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <csignal>
#include <fstream>
#include <new>
#include <random>
#include <thread>

#include "backends/cpu/dense/dense.h"
#include "backends/ref/dense.h"
#include "base/parallel.h"
#include "clearhead/error.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

constexpr uint32_t kSeed = 20240917;
constexpr Activation kActivations[] = {Activation::kNone, Activation::kGeluErf, Activation::kGeluTanh, Activation::kRelu,
                                       Activation::kSilu, Activation::kTanh,    Activation::kSigmoid};

std::vector<float> random_values(int64_t count, uint32_t seed, float spread = 1) {
  std::mt19937 generator(kSeed + seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

// The widest set comes first, because the first backend used limits oneDNN for the process. The
// program runs once more with the other sets only.
std::vector<InstructionSet> sets_of_this_machine() {
  std::vector<InstructionSet> sets;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) sets.push_back(InstructionSet::kAvx512);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) sets.push_back(InstructionSet::kAvx2);
  return sets;
}

class Dense : public testing::TestWithParam<InstructionSet> {
 protected:
  const DenseOps& fast() const { return cpu::dense_ops(GetParam()); }
  const DenseOps& slow() const { return ref_dense_ops(); }
};

// The values of an f32 tensor truncated to 16 bits, as a file may store them.
Tensor halved(const std::vector<float>& values, Shape shape, DType dtype) {
  Tensor out = Tensor::empty(std::move(shape), dtype);
  auto* bits = reinterpret_cast<uint16_t*>(out.mutable_raw());
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t word = std::bit_cast<uint32_t>(values[i]);
    const uint32_t exponent = (word >> 23) & 0xFF;  // in f16, exponents 113 … 142 are normal
    const bool fits = exponent >= 113 && exponent <= 142;
    const uint32_t half = ((word >> 16) & 0x8000) | (fits ? ((exponent - 112) << 10) | ((word >> 13) & 0x3FF) : 0);
    bits[i] = static_cast<uint16_t>(dtype == DType::kBF16 ? word >> 16 : half);
  }
  return out;
}

struct LinearCase {
  int64_t rows, in, out;
  Activation activation = Activation::kNone;
  bool bias = true, accumulate = false;
  WeightStorage storage = WeightStorage::kF32;
  bool low_precision_x = false;
};

void expect_equal_products(const DenseOps& fast, const DenseOps& slow, const std::vector<WeightPart>& parts, const LinearCase& c) {
  const auto fast_weight = fast.prepare(parts.data(), static_cast<int64_t>(parts.size()), c.storage);
  const auto slow_weight = slow.prepare(parts.data(), static_cast<int64_t>(parts.size()), c.storage);
  ASSERT_EQ(fast_weight->out, c.out);
  ASSERT_EQ(fast_weight->in, c.in);
  const int64_t x_stride = c.in + 3, out_stride = c.out + 5;
  const std::vector<float> x = random_values(c.rows * x_stride, 1), bias = random_values(c.out, 2);
  std::vector<float> found = random_values(c.rows * out_stride, 3), expected = found;
  const Tensor rounded = to_dtype(Tensor::from(x, {static_cast<int64_t>(x.size())}), DType::kBF16);
  const auto* low_precision_x = reinterpret_cast<const uint16_t*>(rounded.raw());
  const auto call = [&](const PreparedWeight& weight, std::vector<float>& out) {
    return LinearCall{.weight = weight,
                      .x = c.low_precision_x ? nullptr : x.data(),
                      .rows = c.rows,
                      .x_stride = x_stride,
                      .bias = c.bias ? bias.data() : nullptr,
                      .activation = c.activation,
                      .accumulate = c.accumulate,
                      .out = out.data(),
                      .out_stride = out_stride,
                      .low_precision_x = c.low_precision_x ? low_precision_x : nullptr};
  };
  fast.linear(call(*fast_weight, found));
  slow.linear(call(*slow_weight, expected));
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_NEAR(found[i], expected[i], tolerance::kDense * std::sqrt(static_cast<double>(c.in)))
        << "element " << i << " of " << c.rows << "x" << c.in << "x" << c.out << " " << to_string(c.activation)
        << (c.accumulate ? " +=" : "");
  }
}

TEST_P(Dense, ProductsOfAnySizeAndEpilogueAreThoseOfTheReference) {
  for (const Activation activation : kActivations) {
    for (const int64_t rows : {0, 1, 2, 33}) {
      for (const auto& [in, out] : {std::pair<int64_t, int64_t>{1, 1}, {1, 24}, {24, 1}, {24, 61}, {97, 130}}) {
        const Tensor weight = Tensor::from(random_values(in * out, 4), {out, in});
        expect_equal_products(fast(), slow(), {{weight, false}}, {rows, in, out, activation, rows % 2 == 0, out % 2 == 0});
      }
    }
  }
}

TEST_P(Dense, WeightsAreReadFromEveryDtypeAndOrientation) {
  const int64_t in = 37, out = 75;
  const std::vector<float> values = random_values(in * out, 5);
  for (const int64_t rows : {1, 9}) {
    for (const DType dtype : {DType::kBF16, DType::kF16}) {
      expect_equal_products(fast(), slow(), {{halved(values, {out, in}, dtype), false}}, {rows, in, out});
      expect_equal_products(fast(), slow(), {{halved(values, {in, out}, dtype), true}}, {rows, in, out});
    }
    expect_equal_products(fast(), slow(), {{Tensor::from(values, {in, out}), true}}, {rows, in, out});
  }
}

TEST_P(Dense, NarrowWeightsComputeWithTheirStoredValues) {
  for (const WeightStorage storage : {WeightStorage::kBF16, WeightStorage::kInt8, WeightStorage::kInt8Dynamic}) {
    for (const int64_t rows : {0, 1, 2, 16, 17, 40}) {
      for (const auto& [in, out] : {std::pair<int64_t, int64_t>{1, 1}, {24, 61}, {128, 64}, {300, 1}, {517, 130}}) {
        const std::vector<WeightPart> parts = {{Tensor::from(random_values(in * out, 4), {out, in}), false},
                                               {Tensor::from(random_values(in * 3, 14), {in, 3}), true}};
        expect_equal_products(fast(), slow(), parts, {rows, in, out + 3, Activation::kSilu, rows % 2 == 0, out % 2 == 0, storage});
      }
    }
  }
}

TEST_P(Dense, Bf16InputsTimesBf16WeightsMatchTheReference) {
  for (const int64_t rows : {0, 1, 2, 16, 17, 200}) {
    for (const auto& [in, out] : {std::pair<int64_t, int64_t>{1, 1}, {24, 61}, {128, 64}, {300, 1}, {517, 130}}) {
      for (const Activation activation : {Activation::kNone, Activation::kGeluErf}) {
        LinearCase c{rows, in, out, activation, rows % 2 == 0, out % 2 == 0, WeightStorage::kBF16};
        c.low_precision_x = true;
        expect_equal_products(fast(), slow(), {{Tensor::from(random_values(in * out, 4), {out, in}), false}}, c);
      }
    }
  }
}

TEST_P(Dense, OutputsOfBf16AreThoseOfF32RoundedOnce) {
  for (const int64_t rows : {1, 16, 17, 100}) {
    for (const auto& [in, out] : {std::pair<int64_t, int64_t>{24, 61}, {128, 64}, {300, 1}}) {
      const WeightPart part{Tensor::from(random_values(in * out, 4), {out, in}), false};
      const Tensor x = to_dtype(Tensor::from(random_values(rows * in, 1), {rows, in}), DType::kBF16);
      const std::vector<float> bias = random_values(out, 2);
      for (const DenseOps* ops : {&fast(), &slow()}) {
        const auto weight = ops->prepare(&part, 1, WeightStorage::kBF16);
        const int64_t stride = out + 2;
        std::vector<float> wide(static_cast<size_t>(rows * stride), 0);
        std::vector<uint16_t> narrow(wide.size(), 0x4242);
        LinearCall call{.weight = *weight,
                        .rows = rows,
                        .x_stride = in,
                        .bias = bias.data(),
                        .activation = Activation::kGeluErf,
                        .out = wide.data(),
                        .out_stride = stride,
                        .low_precision_x = reinterpret_cast<const uint16_t*>(x.raw())};
        ops->linear(call);
        call.out = nullptr;
        call.low_precision_out = narrow.data();
        ops->linear(call);
        for (int64_t i = 0; i < rows * stride; ++i) {
          const auto at = static_cast<size_t>(i);
          if (i % stride >= out) {
            ASSERT_EQ(narrow[at], 0x4242) << "memory between rows";
          } else {  // sums of another kernel may round to the other neighbour
            ASSERT_NEAR(bf16_to_f32(narrow[at]), wide[at],
                        0x1p-8 * 1.001 * std::abs(static_cast<double>(wide[at])) + tolerance::kDense * std::sqrt(static_cast<double>(in)));
          }
        }
      }
    }
  }
}

TEST_P(Dense, NarrowWeightsStayWithinTheErrorBound) {
  const int64_t in = 200, out = 30;
  const std::vector<float> values = random_values(in * out, 15);
  const WeightPart part{Tensor::from(values, {out, in}), false};
  std::vector<float> one(static_cast<size_t>(in), 0), found(static_cast<size_t>(out));
  for (const WeightStorage storage : {WeightStorage::kBF16, WeightStorage::kInt8}) {
    const auto weight = fast().prepare(&part, 1, storage);
    EXPECT_LT(weight->bytes, static_cast<size_t>(256 * out * (storage == WeightStorage::kInt8 ? 1 : 2) + 4 * out + 1));
    for (int64_t i = 0; i < in; ++i) {
      one[static_cast<size_t>(i)] = 1;
      fast().linear({*weight, one.data(), 1, in, nullptr, Activation::kNone, false, found.data(), out});
      one[static_cast<size_t>(i)] = 0;
      for (int64_t o = 0; o < out; ++o) {
        const float w = values[static_cast<size_t>(o * in + i)];
        float largest = 0;
        for (int64_t k = 0; k < in; ++k) largest = std::max(largest, std::abs(values[static_cast<size_t>(o * in + k)]));
        const float bound = storage == WeightStorage::kBF16 ? std::abs(w) * 0x1p-8F : largest / 254 * 1.000001F;
        ASSERT_LE(std::abs(found[static_cast<size_t>(o)] - w), bound) << to_string(storage) << " output " << o << " input " << i;
      }
    }
  }
}

// x and w are each off by at most half a step of their own scale: |Δ(x·w)| ≤ Σ_i |x_i|Δw + |w_i|Δx + ΔxΔw. The integer products are exact;
// scaling a sum in f32 and adding the bias add a relative error of 4ε. The oracle does not round.
TEST_P(Dense, Int8ProductsStayWithinTheErrorBound) {
  // The last sizes are next to the widths of vectors, panels and tiles (16 and 64 inputs, 64 rows, 512 outputs).
  for (const auto& [rows, in, out] : {std::array<int64_t, 3>{1, 200, 30},
                                      {37, 200, 30},
                                      {150, 517, 130},
                                      {2, 1, 1},
                                      {130, 64, 1100},
                                      {5, 3, 17},
                                      {1, 15, 16},
                                      {4, 63, 64},
                                      {63, 65, 15},
                                      {127, 17, 511},
                                      {128, 16, 512},
                                      {129, 129, 513}}) {
    const std::vector<float> w = random_values(in * out, 30), x = random_values(rows * in, 31), bias = random_values(out, 32);
    const WeightPart part{Tensor::from(w, {out, in}), false};
    const auto weight = fast().prepare(&part, 1, WeightStorage::kInt8Dynamic);
    std::vector<float> found(static_cast<size_t>(rows * out));
    fast().linear({*weight, x.data(), rows, in, bias.data(), Activation::kNone, false, found.data(), out});
    const auto largest = [in = in](const std::vector<float>& of, int64_t row) {
      double most = 0;
      for (int64_t i = 0; i < in; ++i) most = std::max(most, std::abs(static_cast<double>(of[static_cast<size_t>(row * in + i)])));
      return most;
    };
    constexpr double kHalfStep = 1.000001 / 254, kScaling = 4 * 0x1p-23;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t o = 0; o < out; ++o) {
        const double off_x = largest(x, row) * kHalfStep, off_w = largest(w, o) * kHalfStep;
        double sum = static_cast<double>(bias[static_cast<size_t>(o)]), bound = 0, size = std::abs(sum);
        for (int64_t i = 0; i < in; ++i) {
          const auto a = static_cast<double>(x[static_cast<size_t>(row * in + i)]),
                     b = static_cast<double>(w[static_cast<size_t>(o * in + i)]);
          sum += a * b;
          size += std::abs(a * b);
          bound += std::abs(a) * off_w + std::abs(b) * off_x + off_x * off_w;
        }
        ASSERT_LE(std::abs(static_cast<double>(found[static_cast<size_t>(row * out + o)]) - sum), bound + kScaling * (size + bound))
            << rows << " x " << in << " x " << out << ", row " << row << ", output " << o;
      }
    }
  }
}

// Sums of integer products are exact: neither the other rows of a call nor the position of a row changes a bit.
TEST_P(Dense, AnInt8RowHasTheSameBitsAloneAndInABatch) {
  if (GetParam() != InstructionSet::kAvx512 || !__builtin_cpu_supports("avx512vnni")) GTEST_SKIP() << "no int8 dot products";
  const int64_t rows = 301, in = 259, out = 700;
  const WeightPart part{Tensor::from(random_values(in * out, 33), {out, in}), false};
  const auto weight = fast().prepare(&part, 1, WeightStorage::kInt8Dynamic);
  const std::vector<float> x = random_values(rows * in, 34);
  const auto products = [&](int64_t first, int64_t count) {
    std::vector<float> found(static_cast<size_t>(count * out));
    fast().linear({*weight, x.data() + first * in, count, in, nullptr, Activation::kGeluErf, false, found.data(), out});
    return found;
  };
  const std::vector<float> together = products(0, rows);
  for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 1}, {17, 1}, {300, 1}, {5, 40}, {100, 150}}) {
    const std::vector<float> some = products(first, count);
    EXPECT_TRUE(std::equal(some.begin(), some.end(), together.begin() + first * out)) << count << " rows from " << first;
  }
}

TEST_P(Dense, ZeroTinyAndNonFiniteInt8RowsDoNotAffectOtherRows) {
  const int64_t in = 70, out = 20;
  std::vector<float> x = random_values(5 * in, 35);
  std::fill_n(x.begin(), in, 0.0F);
  x[static_cast<size_t>(in + 3)] = std::nanf("");
  x[static_cast<size_t>(2 * in + 69)] = -INFINITY;
  std::fill_n(x.begin() + 3 * in, in, 1e-35F);
  const std::vector<float> bias = random_values(out, 36);
  const WeightPart part{Tensor::from(random_values(in * out, 37), {out, in}), false};
  for (const DenseOps* ops : {&fast(), &slow()}) {
    const auto weight = ops->prepare(&part, 1, WeightStorage::kInt8Dynamic);
    std::vector<float> found(static_cast<size_t>(5 * out));
    ops->linear({*weight, x.data(), 5, in, bias.data(), Activation::kNone, false, found.data(), out});
    for (size_t o = 0; o < static_cast<size_t>(out); ++o) {
      const auto at = [&](size_t row) { return found[row * static_cast<size_t>(out) + o]; };
      EXPECT_EQ(at(0), bias[o]);
      EXPECT_TRUE(std::isnan(at(1))) << at(1);
      EXPECT_TRUE(std::isnan(at(2))) << at(2);
      EXPECT_EQ(at(3), bias[o]);
      EXPECT_TRUE(std::isfinite(at(4)));
    }
  }
}

TEST_P(Dense, AnInt8WeightWithoutInputsGivesTheBias) {
  const WeightPart part{Tensor::zeros({3, 0}), false};
  const std::vector<float> bias = {1, -2, 3};
  for (const DenseOps* ops : {&fast(), &slow()}) {
    const auto weight = ops->prepare(&part, 1, WeightStorage::kInt8Dynamic);
    std::vector<float> found(6, 9);
    const float none = 0;
    ops->linear({*weight, &none, 2, 0, bias.data(), Activation::kNone, false, found.data(), 3});
    EXPECT_EQ(found, (std::vector<float>{1, -2, 3, 1, -2, 3}));
  }
}

TEST_P(Dense, NonFiniteInt8WeightsMakeOnlyTheirOwnOutputNaN) {
  const int64_t in = 70, out = 5;
  std::vector<float> w = random_values(in * out, 38);
  w[static_cast<size_t>(in + 3)] = std::nanf("");
  w[static_cast<size_t>(2 * in + 69)] = INFINITY;
  const WeightPart part{Tensor::from(w, {out, in}), false};
  for (const DenseOps* ops : {&fast(), &slow()}) {
    for (const WeightStorage storage : {WeightStorage::kInt8, WeightStorage::kInt8Dynamic}) {
      const auto weight = ops->prepare(&part, 1, storage);
      for (const int64_t rows : {1, 3, 130}) {
        const std::vector<float> x = random_values(rows * in, 39);
        std::vector<float> found(static_cast<size_t>(rows * out));
        ops->linear({*weight, x.data(), rows, in, nullptr, Activation::kNone, false, found.data(), out});
        for (size_t at = 0; at < found.size(); ++at) {
          const size_t o = at % static_cast<size_t>(out);
          ASSERT_EQ(std::isnan(found[at]), o == 1 || o == 2) << to_string(storage) << " output " << o << " of " << rows << " rows";
        }
      }
    }
  }
}

// A step of 189/127 of the smallest float rounds to that float itself, and 189 does not fit into 8 bits.
TEST_P(Dense, SubnormalInt8WeightsKeepTheirSign) {
  const int64_t in = 70, out = 2;
  const float smallest = std::numeric_limits<float>::denorm_min();
  std::vector<float> w(static_cast<size_t>(in * out), 189 * smallest);
  const WeightPart part{Tensor::from(w, {out, in}), false};
  const std::vector<float> x(static_cast<size_t>(in), 1e30F);
  for (const DenseOps* ops : {&fast(), &slow()}) {
    for (const WeightStorage storage : {WeightStorage::kInt8, WeightStorage::kInt8Dynamic}) {
      const auto weight = ops->prepare(&part, 1, storage);
      std::vector<float> found(static_cast<size_t>(out), 1);
      ops->linear({*weight, x.data(), 1, in, nullptr, Activation::kNone, false, found.data(), out});
      for (const float one : found) EXPECT_TRUE(one >= 0 && one <= 1e-10F) << to_string(storage) << ": " << one;
    }
  }
}

// 255·127·70,000 does not fit into 32 bits.
TEST_P(Dense, Int8SumsDoNotOverflow) {
  const int64_t in = 70'000, out = 3;
  const std::vector<float> x(static_cast<size_t>(in), 1);
  const WeightPart part{Tensor::from(std::vector<float>(static_cast<size_t>(in * out), 0.5F), {out, in}), false};
  const auto weight = fast().prepare(&part, 1, WeightStorage::kInt8Dynamic);
  std::vector<float> found(static_cast<size_t>(out));
  fast().linear({*weight, x.data(), 1, in, nullptr, Activation::kNone, false, found.data(), out});
  for (const float sum : found) EXPECT_NEAR(sum, 35'000, 0.05);
}

TEST_P(Dense, StackedPartsAreOneProduct) {
  const int64_t in = 24;
  const std::vector<WeightPart> parts = {{Tensor::from(random_values(in * 24, 6), {24, in}), false},
                                         {Tensor::from(random_values(in * 50, 7), {in, 50}), true},
                                         {Tensor::from(random_values(in * 7, 8), {7, in}), false}};
  for (const int64_t rows : {1, 5}) expect_equal_products(fast(), slow(), parts, {rows, in, 81});
}

TEST_P(Dense, PartsWithDifferentInputsAreRefused) {
  const std::vector<WeightPart> parts = {{Tensor::zeros({4, 3}), false}, {Tensor::zeros({4, 5}), false}};
  expect_refused(ErrorCode::kShape, "part 1 has shape [4, 5]; all parts of a weight must have the same number of inputs",
                 [&] { fast().prepare(parts.data(), 2, WeightStorage::kF32); });
  expect_refused(ErrorCode::kShape, "part 1 has shape [4, 5]; all parts of a weight must have the same number of inputs",
                 [&] { slow().prepare(parts.data(), 2, WeightStorage::kF32); });
}

TEST_P(Dense, NormsAreThoseOfTheReference) {
  for (const int64_t width : {1, 3, 24, 97, 384}) {
    for (const bool rms : {false, true}) {
      const int64_t rows = 11;
      const std::vector<float> x = random_values(rows * width, 9, 3), weight = random_values(width, 10), bias = random_values(width, 11);
      std::vector<float> found(x.size()), expected(x.size());
      NormCall call{rms, 1e-5, weight.data(), rms ? nullptr : bias.data(), x.data(), found.data(), rows, width};
      fast().norm(call);
      call.out = expected.data();
      slow().norm(call);
      for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(found[i], expected[i], tolerance::kNorm) << "width " << width << " element " << i;
    }
  }
}

TEST_P(Dense, NormInPlaceIsTheSame) {
  std::vector<float> x = random_values(5 * 33, 12), out(x.size());
  const std::vector<float> weight = random_values(33, 13);
  fast().norm({false, 1e-12, weight.data(), nullptr, x.data(), out.data(), 5, 33});
  fast().norm({false, 1e-12, weight.data(), nullptr, x.data(), x.data(), 5, 33});
  EXPECT_EQ(x, out);
}

TEST_P(Dense, ActivationsHoldOverTheWholeRange) {
  for (const Activation activation : kActivations) {
    std::vector<float> x;
    for (float value = -30; value <= 30; value += 0.0137F) x.push_back(value);
    std::vector<float> expected = x;
    fast().activate(activation, x.data(), static_cast<int64_t>(x.size()));
    slow().activate(activation, expected.data(), static_cast<int64_t>(x.size()));
    for (size_t i = 0; i < x.size(); ++i)
      ASSERT_NEAR(x[i], expected[i], tolerance::kFew * std::max(1.0, std::abs(static_cast<double>(expected[i])))) << to_string(activation);
  }
}

TEST_P(Dense, ActivationsKeepNaN) {
  for (const Activation activation : kActivations) {
    float x[3] = {1, std::nanf(""), -1};
    fast().activate(activation, x, 3);
    EXPECT_TRUE(std::isnan(x[1])) << to_string(activation);
    EXPECT_FALSE(std::isnan(x[0]) || std::isnan(x[2])) << to_string(activation);
  }
}

TEST_P(Dense, GatesMultiplyTheOtherHalfOfARow) {
  for (const int64_t width : {1, 13, 40}) {
    const std::vector<float> x = random_values(7 * 2 * width, 14);
    std::vector<float> found(static_cast<size_t>(7 * width)), expected = found;
    fast().gated({Activation::kSilu, x.data(), found.data(), 7, width});
    slow().gated({Activation::kSilu, x.data(), expected.data(), 7, width});
    for (size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], tolerance::kNorm);
  }
}

TEST_P(Dense, EmbeddingsAddTheirTables) {
  const int64_t width = 19, rows = 6;
  const std::vector<int32_t> ids = {0, 3, 6, 6, 1, 2}, positions = {0, 1, 2, 3, 4, 5}, types = {0, 0, 1, 1, 0, 1};
  const std::vector<float> table = random_values(7 * width, 15);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    const Tensor tokens = dtype == DType::kF32 ? Tensor::from(table, {7, width}) : halved(table, {7, width}, dtype);
    const Tensor position_table = Tensor::from(random_values(8 * width, 16), {8, width}),
                 type_table = Tensor::from(random_values(2 * width, 17), {2, width});
    std::vector<float> found(static_cast<size_t>(rows * width)), expected = found;
    EmbeddingCall call{tokens, position_table, type_table, 2.5F, ids.data(), positions.data(), types.data(), found.data(), rows, width};
    fast().embed(call);
    call.out = expected.data();
    slow().embed(call);
    for (size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], 2 * tolerance::kFew);
  }
}

TEST_P(Dense, RotaryRotatesHalvesOrInterleavedPairs) {
  const int64_t rows = 5, heads = 3, width = 10, dims = 8;
  const std::vector<float> cosine = random_values(rows * dims / 2, 18), sine = random_values(rows * dims / 2, 19);
  for (const bool interleaved : {false, true}) {
    std::vector<float> found = random_values(rows * heads * width, 20), expected = found;
    RotaryCall call{found.data(), rows, heads, width, heads * width, width, dims, interleaved, cosine.data(), sine.data()};
    fast().rotary(call);
    call.x = expected.data();
    slow().rotary(call);
    for (size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], 2 * tolerance::kFew);
  }
}

// The number of rows that a thread takes at once depends on the number of threads.
TEST_P(Dense, ProductsDoNotDependOnTheNumberOfThreads) {
  const int before = threads();
  for (const auto& [in, out] : {std::pair<int64_t, int64_t>{96, 200}, {768, 192}, {1100, 64}}) {
    const WeightPart part{Tensor::from(random_values(out * in, 21), {out, in}), false};
    for (const WeightStorage storage : {WeightStorage::kF32, WeightStorage::kBF16, WeightStorage::kInt8, WeightStorage::kInt8Dynamic}) {
      const auto prepared = fast().prepare(&part, 1, storage);
      for (const int64_t rows : {1, 5, 33, 128, 301, 512}) {
        const std::vector<float> x = random_values(in * rows, 22);
        const Tensor narrow = to_dtype(Tensor::from(x, {rows, in}), DType::kBF16);
        for (const bool low_precision_x : {false, true}) {
          if (low_precision_x && storage != WeightStorage::kBF16) continue;
          std::vector<std::vector<float>> outs;
          for (const int count : {1, 2, 3, 16}) {
            set_threads(count);
            outs.emplace_back(rows * out);
            fast().linear({.weight = *prepared,
                           .x = low_precision_x ? nullptr : x.data(),
                           .rows = rows,
                           .x_stride = in,
                           .activation = Activation::kGeluErf,
                           .out = outs.back().data(),
                           .out_stride = out,
                           .low_precision_x = low_precision_x ? reinterpret_cast<const uint16_t*>(narrow.raw()) : nullptr});
            EXPECT_TRUE(outs.back() == outs.front()) << count << " threads, " << rows << " × " << in << " × " << out << ", storage "
                                                     << static_cast<int>(storage) << (low_precision_x ? ", x in bf16" : "");
          }
        }
      }
    }
  }
  set_threads(before);
}

// Gradients of weights have few outputs and long inner sums, which it would be tempting to split between threads.
TEST_P(Dense, InnerSumsDoNotDependOnTheNumberOfThreads) {
  struct Size {
    int64_t rows, inner, columns;
  };
  const int before = threads();
  for (const Size& size :
       {Size{64, 128, 32}, Size{32, 128, 32}, Size{32, 4096, 48}, Size{7, 3000, 500}, Size{256, 2048, 256}, Size{512, 768, 192}}) {
    const std::vector<float> a = random_values(size.inner * size.rows, 23), b = random_values(size.inner * size.columns, 24);
    const auto narrow = [](const std::vector<float>& values) {
      return to_dtype(Tensor::from(values, {int64_t(values.size())}), DType::kBF16);
    };
    const auto bits = [](const Tensor& tensor) { return reinterpret_cast<const uint16_t*>(tensor.raw()); };
    const Tensor narrow_a = narrow(a), narrow_b = narrow(b);
    for (const bool is_bf16 : {false, true}) {
      for (const bool accumulate : {false, true}) {
        std::vector<std::vector<float>> outs;
        for (const int count : {1, 2, 3, 16}) {
          set_threads(count);
          outs.push_back(random_values(size.rows * size.columns, 26));
          const auto call = [&]<class Element>(const Element* of_a, const Element* of_b) {
            return ProductOf<Element>{.a = {of_a, 1, size.rows},
                                      .b = {of_b, size.columns, 1},
                                      .rows = size.rows,
                                      .inner = size.inner,
                                      .columns = size.columns,
                                      .accumulate = accumulate,
                                      .out = outs.back().data(),
                                      .out_stride = size.columns};
          };
          is_bf16 ? fast().low_precision_product(call(bits(narrow_a), bits(narrow_b))) : fast().product(call(a.data(), b.data()));
          EXPECT_EQ(outs.back() == outs.front(), true)
              << count << " threads, " << size.rows << " × " << size.inner << " × " << size.columns << (is_bf16 ? ", bf16" : "");
        }
      }
    }
  }
  set_threads(before);
}

// Operands whose cache lines conflict are copied, one piece of the inner sums at a time. An
// offset or a bias that is counted twice would be detected.
TEST_P(Dense, ProductsWithCacheLineConflictsMatchTheReference) {
  struct Size {
    int64_t rows, inner, columns;
    bool transposed;  // whether a is transposed
  };
  for (const Size& size : {Size{192, 1500, 128, true}, Size{320, 700, 64, true}, Size{50, 1030, 128, true}, Size{130, 1100, 192, false}}) {
    const std::vector<float> a = random_values(size.inner * size.rows, 27, 0.1F), b = random_values(size.inner * size.columns, 28);
    const std::vector<float> bias = random_values(size.columns, 29);
    for (const bool accumulate : {false, true}) {
      std::vector<float> found = random_values(size.rows * size.columns, 30), expected = found;
      ProductCall call{.a = size.transposed ? MatrixView{a.data(), 1, size.rows} : MatrixView{a.data(), size.inner, 1},
                       .b = {b.data(), size.columns, 1},
                       .rows = size.rows,
                       .inner = size.inner,
                       .columns = size.columns,
                       .bias = bias.data(),
                       .accumulate = accumulate,
                       .out = found.data(),
                       .out_stride = size.columns};
      fast().product(call);
      call.out = expected.data();
      slow().product(call);
      for (size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], tolerance::kProduct) << "element " << i;
    }
  }
}

std::atomic<int64_t> signals{0};

// A profiler's timer, Ctrl-C, a host application's signals: their handlers run on the stack of the thread that they interrupt.
TEST_P(Dense, ProductsWithstandSignals) {
  struct sigaction ours {
  }, before{};
  ours.sa_handler = [](int) { ++signals; };
  ours.sa_flags = SA_RESTART;
  ASSERT_EQ(sigaction(SIGUSR1, &ours, &before), 0);
  std::atomic<bool> done{false};
  std::thread sender([&done, here = pthread_self()] {
    for (; !done; std::this_thread::sleep_for(std::chrono::microseconds(20))) pthread_kill(here, SIGUSR1);
  });
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(60);  // on a busy machine the sender may wait
  for (const int64_t size : {32, 64, 96, 256}) {
    const std::vector<float> a = random_values(size * size, 31), b = random_values(size * size, 32);
    std::vector<std::vector<float>> outs(2, std::vector<float>(a.size()));
    const int64_t earlier = signals, times = (int64_t{1} << 26) / (size * size * size);
    for (int64_t again = 0; again < times || (signals == earlier && std::chrono::steady_clock::now() < patience); ++again) {
      const bool first = again == 0;
      fast().product({.a = {a.data(), 1, size},
                      .b = {b.data(), size, 1},
                      .rows = size,
                      .inner = size,
                      .columns = size,
                      .out = outs[first ? 0 : 1].data(),
                      .out_stride = size});
      if (!first && outs[0] != outs[1]) {
        ADD_FAILURE() << "size " << size << ", after " << signals << " signals";
        break;
      }
    }
    EXPECT_GT(signals, earlier) << "size " << size;
  }
  done = true;
  sender.join();
  ASSERT_EQ(sigaction(SIGUSR1, &before, nullptr), 0);
}

#ifndef __SANITIZE_ADDRESS__
// A product with a new shape makes the library compile a kernel.
TEST_P(Dense, ProductsReportOutOfMemory) {
  const auto in_a_child = [this](rlim_t more) {
    const rlim_t pages = [] {
      std::ifstream sizes("/proc/self/statm");
      rlim_t out = 0;
      sizes >> out;
      return out;
    }();
    const rlimit limit{pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + more, RLIM_INFINITY};
    if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(2);
    try {
      for (int64_t size = 33; size < 200; size += 7) {
        const std::vector<float> a(static_cast<size_t>(size * size), 1.0F);
        std::vector<float> out(a.size());
        fast().product({.a = {a.data(), size, 1},
                        .b = {a.data(), size, 1},
                        .rows = size,
                        .inner = size,
                        .columns = size,
                        .out = out.data(),
                        .out_stride = size});
      }
    } catch (const Error& error) {
      _exit(error.code() == ErrorCode::kBudget ? 0 : 3);
    } catch (const std::bad_alloc&) {
      _exit(0);
    }
    _exit(0);
  };
  for (const rlim_t more : {0, 64 << 10, 200 << 10, 512 << 10, 1 << 20, 2 << 20}) {
    const pid_t child = fork();
    if (child == 0) in_a_child(more);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << more << " bytes more: status " << status;
  }
}
#endif

INSTANTIATE_TEST_SUITE_P(Tables, Dense, testing::ValuesIn(sets_of_this_machine()),
                         [](const auto& tested) { return tested.param == InstructionSet::kAvx512 ? "Avx512" : "Avx2"; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Dense);

}  // namespace
}  // namespace clearhead
