// Circuits of heads: equal to products of whole matrices in double, and the copying head of a model that is known to copy.
#include "explain/circuits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <filesystem>

#include "base/random.h"
#include "clearhead/error.h"
#include "explain/circuit_weights.h"
#include "explain/eigenvalues.h"
#include "models/known_answers.h"
#include "tolerance.h"

namespace clearhead::explain {
namespace {

constexpr int64_t kVocabulary = 40, kWidth = 12, kHeads = 4, kKeyHeads = 2, kHeadDim = 3;

Tensor random_tensor(const Shape& shape, uint64_t seed) {
  Tensor out = Tensor::empty(shape);
  for (int64_t i = 0; i < out.numel(); ++i)
    out.mutable_data<float>()[i] = static_cast<float>(random_normal(seed, static_cast<uint64_t>(i)));
  return out;
}

nn::Norm norm_of(bool rms, uint64_t seed) {
  nn::Norm norm;
  norm.weight = random_tensor({kWidth}, seed);
  if (!rms) norm.bias = random_tensor({kWidth}, seed + 1);
  norm.is_rms = rms;
  return norm;
}

struct Case {
  VocabularyEnds ends{};
  AttentionWeights weights{};
};

Case made(bool rms) {
  Case out;
  out.ends = {random_tensor({kVocabulary, kWidth}, 1), 1.5, random_tensor({kVocabulary, kWidth}, 2), norm_of(rms, 3)};
  out.weights = {.norm = norm_of(rms, 5),
                 .heads = kHeads,
                 .key_heads = kKeyHeads,
                 .head_dim = kHeadDim,
                 .query = random_tensor({kHeads * kHeadDim, kWidth}, 7),
                 .query_bias = random_tensor({kHeads * kHeadDim}, 8),
                 .key = random_tensor({kKeyHeads * kHeadDim, kWidth}, 9),
                 .value = random_tensor({kKeyHeads * kHeadDim, kWidth}, 10),
                 .output = random_tensor({kHeads * kHeadDim, kWidth}, 11),
                 .scale = 0.7};
  return out;
}

using Matrix = std::vector<std::vector<double>>;

// The embedding of a token after the norm, in double.
std::vector<double> read(const Case& of, int64_t token, bool with_bias) {
  std::vector<double> x;
  for (int64_t c = 0; c < kWidth; ++c)
    x.push_back(of.ends.scale * static_cast<double>(of.ends.embedding.data<float>()[token * kWidth + c]));
  const nn::Norm& norm = of.weights.norm;
  double mean = 0, square = 0;
  for (const double value : x) mean += norm.is_rms ? 0 : value / kWidth;
  for (double& value : x) value -= mean;
  for (const double value : x) square += value * value / kWidth;
  for (size_t c = 0; c < x.size(); ++c) {
    x[c] = x[c] / std::sqrt(square + norm.epsilon) * static_cast<double>(norm.weight.data<float>()[c]);
    if (with_bias && norm.bias.defined()) x[c] += static_cast<double>(norm.bias.data<float>()[c]);
  }
  return x;
}

double product(const Tensor& weight, int64_t row, const std::vector<double>& x) {
  double sum = 0;
  for (size_t c = 0; c < x.size(); ++c) sum += static_cast<double>(weight.data<float>()[row * kWidth + static_cast<int64_t>(c)]) * x[c];
  return sum;
}

void subtract_mean_of_rows(Matrix& matrix) {
  for (auto& row : matrix) {
    double mean = 0;
    for (const double value : row) mean += value / static_cast<double>(row.size());
    for (double& value : row) value -= mean;
  }
}

Matrix expected_qk(const Case& of, int64_t head) {
  Matrix out(kVocabulary, std::vector<double>(kVocabulary, 0.0));
  for (int64_t query = 0; query < kVocabulary; ++query) {
    for (int64_t key = 0; key < kVocabulary; ++key) {
      for (int64_t c = 0; c < kHeadDim; ++c) {
        const double q = product(of.weights.query, head * kHeadDim + c, read(of, query, true)) +
                         static_cast<double>(of.weights.query_bias.data<float>()[head * kHeadDim + c]);
        const double k = product(of.weights.key, head / 2 * kHeadDim + c, read(of, key, true));
        out[static_cast<size_t>(query)][static_cast<size_t>(key)] += of.weights.scale * q * k;
      }
    }
  }
  subtract_mean_of_rows(out);
  return out;
}

Matrix expected_ov(const Case& of, int64_t head) {
  Matrix out(kVocabulary, std::vector<double>(kVocabulary, 0.0));
  const nn::Norm& norm = of.ends.final_norm;
  for (int64_t source = 0; source < kVocabulary; ++source) {
    std::vector<double> added(kWidth, 0.0);
    for (int64_t c = 0; c < kHeadDim; ++c) {
      const double v = product(of.weights.value, head / 2 * kHeadDim + c, read(of, source, false));
      for (int64_t w = 0; w < kWidth; ++w)
        added[static_cast<size_t>(w)] += v * static_cast<double>(of.weights.output.data<float>()[(head * kHeadDim + c) * kWidth + w]);
    }
    double mean = 0;
    for (const double value : added) mean += norm.is_rms ? 0 : value / kWidth;
    for (size_t c = 0; c < added.size(); ++c) added[c] = (added[c] - mean) * static_cast<double>(norm.weight.data<float>()[c]);
    for (int64_t token = 0; token < kVocabulary; ++token)
      out[static_cast<size_t>(source)][static_cast<size_t>(token)] = product(of.ends.unembedding, token, added);
  }
  subtract_mean_of_rows(out);
  return out;
}

void expect_same(const VocabularyMatrix& found, const Matrix& expected) {
  std::vector<std::pair<double, std::pair<int, int>>> all;
  double largest = 1;
  for (int row = 0; row < kVocabulary; ++row) {
    for (int column = 0; column < kVocabulary; ++column) {
      const double value = expected[static_cast<size_t>(row)][static_cast<size_t>(column)];
      all.push_back({value, {row, column}});
      largest = std::max(largest, std::abs(value));
    }
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  const std::vector<TokenPair> pairs = found.largest(9);
  ASSERT_EQ(pairs.size(), 9U);
  for (size_t at = 0; at < pairs.size(); ++at) {
    EXPECT_NEAR(static_cast<double>(pairs[at].value), all[at].first, tolerance::kSum * largest);
    EXPECT_EQ(std::pair(static_cast<int>(pairs[at].row), static_cast<int>(pairs[at].column)), all[at].second);
  }
  double ranks = 0;
  for (size_t at = 0; at < kVocabulary; ++at) {
    const auto& values = expected[at];
    ranks += static_cast<double>(std::count_if(values.begin(), values.end(), [&](double value) { return value < values[at]; })) /
             static_cast<double>((kVocabulary - 1) * kVocabulary);
  }
  EXPECT_NEAR(found.rank_of_own_column(), ranks, tolerance::kFew);
  std::vector<double> row = expected[17];
  const std::vector<TokenValue> raised = found.largest_of_row(17, 3), lowered = found.smallest_of_row(17, 3);
  for (const auto& [values, sign] : {std::pair(raised, 1.0), std::pair(lowered, -1.0)}) {
    std::sort(row.begin(), row.end(), [sign = sign](double a, double b) { return sign * a > sign * b; });
    for (size_t at = 0; at < 3; ++at) EXPECT_NEAR(static_cast<double>(values[at].value), row[at], tolerance::kSum * largest);
  }
}

TEST(Circuits, QkAndOvEqualProductsOfWholeMatrices) {
  for (const bool rms : {false, true}) {
    const Case of = made(rms);
    for (const int64_t head : {0, 3}) {
      expect_same(qk_circuit(of.ends, of.weights, head), expected_qk(of, head));
      expect_same(ov_circuit(of.ends, of.weights, head), expected_ov(of, head));
    }
  }
}

TEST(Circuits, TheLargestEntriesAreFoundAcrossTiles) {
  VocabularyMatrix matrix{random_tensor({700, 2}, 20), random_tensor({9000, 2}, 21)};
  const std::vector<TokenPair> found = matrix.largest(20);
  std::vector<float> all;
  for (int64_t row = 0; row < 700; ++row) {
    for (int64_t column = 0; column < 9000; ++column) {
      const float *a = matrix.rows.data<float>() + 2 * row, *b = matrix.columns.data<float>() + 2 * column;
      all.push_back(a[0] * b[0] + a[1] * b[1]);
    }
  }
  std::partial_sort(all.begin(), all.begin() + 20, all.end(), std::greater<>());
  for (size_t at = 0; at < found.size(); ++at) {
    const float *a = matrix.rows.data<float>() + 2 * found[at].row, *b = matrix.columns.data<float>() + 2 * found[at].column;
    EXPECT_NEAR(found[at].value, all[at], tolerance::kSum * static_cast<double>(all[0]));
    EXPECT_NEAR(found[at].value, a[0] * b[0] + a[1] * b[1], tolerance::kSum * static_cast<double>(all[0]));
  }
}

TEST(Circuits, OfEqualEntriesTheFirstAreKept) {
  const Tensor ones = Tensor::from(std::vector<float>(600, 1.0F), {600, 1});
  const std::vector<TokenPair> found = VocabularyMatrix{ones, ones}.largest(3);
  for (int32_t at = 0; at < 3; ++at)
    EXPECT_EQ(std::pair(found[static_cast<size_t>(at)].row, found[static_cast<size_t>(at)].column), std::pair(0, at));
}

TEST(Circuits, TheRankOfTheOwnColumnIsOneForAnIdentity) {
  VocabularyMatrix matrix{random_tensor({300, 64}, 30), {}};
  matrix.columns = matrix.rows;
  EXPECT_NEAR(matrix.rank_of_own_column(), 1, 1e-3);
  matrix.columns = random_tensor({300, 64}, 31);
  EXPECT_NEAR(matrix.rank_of_own_column(), 0.5, 0.1);
}

TEST(Circuits, EigenvaluesHaveTheInvariantsOfTheirMatrix) {
  constexpr int64_t kSize = 24;
  std::vector<double> matrix;
  for (int64_t i = 0; i < kSize * kSize; ++i) matrix.push_back(random_normal(40, static_cast<uint64_t>(i)));
  std::vector<std::complex<double>> found = eigenvalues(matrix, kSize);
  for (int power = 1; power <= 4; ++power) {  // Σ λ^p = trace of the power
    Matrix raised(kSize, std::vector<double>(kSize, 0.0));
    for (size_t i = 0; i < kSize; ++i) raised[i][i] = 1;
    for (int times = 0; times < power; ++times) {
      Matrix next(kSize, std::vector<double>(kSize, 0.0));
      for (size_t i = 0; i < kSize; ++i)
        for (size_t j = 0; j < kSize; ++j)
          for (size_t k = 0; k < kSize; ++k) next[i][j] += raised[i][k] * matrix[k * kSize + j];
      raised = next;
    }
    double trace = 0;
    std::complex<double> sum = 0;
    for (size_t i = 0; i < kSize; ++i) trace += raised[i][i];
    for (const auto& one : found) sum += std::pow(one, power);
    EXPECT_NEAR(sum.real(), trace, tolerance::kDoubleSum * std::max(1.0, std::abs(trace)) * 1e3);
    EXPECT_NEAR(sum.imag(), 0, 1e-6);
  }
  // A cyclic permutation has the roots of unity, and steps without an exceptional shift do not converge for it.
  const std::vector<double> cycle = {0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
  double sum = 0;
  for (const auto& one : eigenvalues(cycle, 4)) {
    EXPECT_NEAR(std::abs(one), 1, 1e-9);
    sum += one.real();
  }
  EXPECT_NEAR(sum, 0, 1e-9);
}

TEST(Circuits, TheCopyingScoreIsThatOfTheWholeMatrix) {
  const Case of = made(false);
  const CopyingScores scores(of.ends, of.weights.norm);
  for (int64_t head = 0; head < kHeads; ++head) {
    const Matrix whole = expected_ov(of, head);
    std::vector<double> flat;
    for (const auto& row : whole) flat.insert(flat.end(), row.begin(), row.end());
    std::vector<std::complex<double>> all = eigenvalues(flat, kVocabulary);
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return std::abs(a) > std::abs(b); });
    double sum = 0, magnitudes = 0;
    for (size_t at = 0; at < kHeadDim; ++at) {
      sum += all[at].real();
      magnitudes += std::abs(all[at]);
    }
    EXPECT_NEAR(scores.of(of.weights, head), sum / magnitudes, 1e-4);
  }
  const NullDistribution null = scores.null(of.weights);
  EXPECT_NEAR(null.mean, 0, 0.3);
  EXPECT_GT(null.deviation, 0.1);
}

TEST(Circuits, TheInductionHeadOfAKnownModelCopies) {
  const std::string folder = ::testing::TempDir() + "circuits-known";
  write_known_model(folder, KnownCausal{});
  const CircuitWeights model(folder);
  const AttentionWeights layer = model.layer(1);
  const CopyingScores scores(model.ends(), layer.norm);
  EXPECT_NEAR(scores.of(layer, 0), 1, 1e-4);
  EXPECT_TRUE(std::isnan(scores.of(layer, 1)));  // writes nothing
  const VocabularyMatrix ov = ov_circuit(model.ends(), layer, 0);
  EXPECT_EQ(ov.largest_of_row('q', 1)[0].token, 'q');
  EXPECT_EQ(ov.rank_of_own_column(), 1);
  std::filesystem::remove_all(folder);
}

TEST(Circuits, AHeadThatDoesNotExistIsRefused) {
  const Case of = made(true);
  EXPECT_THROW(qk_circuit(of.ends, of.weights, kHeads), Error);
  EXPECT_THROW(qk_circuit(of.ends, of.weights, 0).largest(0), Error);
  EXPECT_THROW(qk_circuit(of.ends, of.weights, 0).largest_of_row(kVocabulary, 1), Error);
}

}  // namespace
}  // namespace clearhead::explain
