// Scores of the literature, each against its paper's formula written out in double: the pairs of spec.h by their docstrings' mapping, and the recipes of
// docs/spec.md that only transform q and k.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include "clearhead/attend.h"

namespace clearhead {
namespace {

struct Matrix {
  int64_t rows = 0, columns = 0;
  std::vector<double> data{};
  double& at(int64_t i, int64_t j) { return data[static_cast<size_t>(i * columns + j)]; }
  double at(int64_t i, int64_t j) const { return data[static_cast<size_t>(i * columns + j)]; }
};

Matrix zeros(int64_t rows, int64_t columns) { return {rows, columns, std::vector<double>(static_cast<size_t>(rows * columns), 0)}; }

Matrix any(uint32_t seed, int64_t rows, int64_t columns) {
  std::mt19937 random(seed);
  Matrix out = zeros(rows, columns);
  for (double& x : out.data) x = static_cast<double>(random()) * 0x1p-31 - 1;
  return out;
}

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix out = zeros(a.rows, b.columns);
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < b.columns; ++j) {
      for (int64_t c = 0; c < a.columns; ++c) out.at(i, j) += a.at(i, c) * b.at(c, j);
    }
  }
  return out;
}

double dot(const Matrix& a, int64_t i, const Matrix& b, int64_t j) {
  double sum = 0;
  for (int64_t c = 0; c < a.columns; ++c) sum += a.at(i, c) * b.at(j, c);
  return sum;
}
double length(const Matrix& a, int64_t i) { return std::sqrt(dot(a, i, a, i)); }

Matrix unit_rows(Matrix a) {
  for (int64_t i = 0; i < a.rows; ++i) {
    const double norm = length(a, i);
    for (int64_t c = 0; c < a.columns; ++c) a.at(i, c) /= norm;
  }
  return a;
}

Tensor tensor_of(const Matrix& a, Shape shape) {
  std::vector<float> values;
  for (const double x : a.data) values.push_back(static_cast<float>(x));
  return Tensor::from(values, std::move(shape));
}
Tensor sequence(const Matrix& a) { return tensor_of(a, {1, 1, a.rows, a.columns}); }
Tensor table_of(const Matrix& a) { return tensor_of(a, {1, a.rows, a.columns}); }

using Score = std::function<double(int64_t i, int64_t j)>;
using Value = std::function<double(int64_t i, int64_t j, int64_t c)>;

// attend() gives Σ_j softmax_j(score)·value.
void expect_formula(const AttentionSpec& spec, const Matrix& q, const Matrix& k, const Matrix& v, const Score& score,
                    const Value& value = nullptr) {
  const Tensor out = attend(sequence(q), sequence(k), sequence(v), spec).out;
  for (int64_t i = 0; i < q.rows; ++i) {
    std::vector<double> expected(static_cast<size_t>(v.columns), 0);
    double sum = 0;
    for (int64_t j = 0; j < k.rows; ++j) {
      const double weight = std::exp(score(i, j));
      sum += weight;
      for (int64_t c = 0; c < v.columns; ++c) expected[static_cast<size_t>(c)] += weight * (value ? value(i, j, c) : v.at(j, c));
    }
    for (int64_t c = 0; c < v.columns; ++c) {
      ASSERT_NEAR(static_cast<double>(out.data<float>()[i * v.columns + c]), expected[static_cast<size_t>(c)] / sum, 4e-6)
          << "query " << i << " channel " << c;
    }
  }
}

constexpr int64_t kQueries = 21, kKeys = 21, kStates = 6, kUnits = 9, kValues = 5;

double leaky_relu(double x) { return x > 0 ? x : 0.2 * x; }

TEST(Recipes, BahdanausAlignmentIsTheAdditivePair) {
  const Matrix s = any(1, kQueries, kStates), h = any(2, kKeys, kStates), w = any(3, kStates, kUnits), u = any(4, kStates, kUnits),
               weight = any(5, 1, kUnits), v = any(6, kKeys, kValues);
  expect_formula({.pair = Additive{.weight = tensor_of(weight, {1, kUnits})}}, product(s, w), product(h, u), v, [&](int64_t i, int64_t j) {
    double e = 0;
    for (int64_t unit = 0; unit < kUnits; ++unit) {
      double inside = 0;
      for (int64_t c = 0; c < kStates; ++c) inside += w.at(c, unit) * s.at(i, c) + u.at(c, unit) * h.at(j, c);
      e += weight.at(0, unit) * std::tanh(inside);
    }
    return e;
  });
}

TEST(Recipes, GATv2IsTheAdditivePairWithALeakyReLU) {
  const Matrix h = any(1, kKeys, kStates), left = any(3, kStates, kUnits), right = any(4, kStates, kUnits), a = any(5, 1, kUnits),
               v = any(6, kKeys, kValues);
  const Additive pair{.weight = tensor_of(a, {1, kUnits}), .activation = Additive::Activation::kLeakyRelu};
  expect_formula({.pair = pair}, product(h, left), product(h, right), v, [&](int64_t i, int64_t j) {
    double e = 0;
    for (int64_t unit = 0; unit < kUnits; ++unit) {  // W·[h_i ‖ h_j]
      double both = 0;
      for (int64_t c = 0; c < 2 * kStates; ++c)
        both += c < kStates ? left.at(c, unit) * h.at(i, c) : right.at(c - kStates, unit) * h.at(j, c - kStates);
      e += a.at(0, unit) * leaky_relu(both);
    }
    return e;
  });
}

TEST(Recipes, ShawsRelativePositionsAreTablesOfKeysAndValues) {
  constexpr int64_t kReach = 4;
  const Matrix q = any(1, kQueries, kUnits), k = any(2, kKeys, kUnits), v = any(3, kKeys, kValues),
               of_keys = any(4, 2 * kReach + 1, kUnits), of_values = any(5, 2 * kReach + 1, kValues);
  const auto clip = [&](int64_t i, int64_t j) { return std::clamp(j - i, -kReach, kReach) + kReach; };
  expect_formula(
      {.pair = Relative{.keys = table_of(of_keys), .values = table_of(of_values)}}, q, k, v,
      [&](int64_t i, int64_t j) {
        double e = 0;
        for (int64_t c = 0; c < kUnits; ++c) e += q.at(i, c) * (k.at(j, c) + of_keys.at(clip(i, j), c));
        return e / std::sqrt(static_cast<double>(kUnits));
      },
      [&](int64_t i, int64_t j, int64_t c) { return v.at(j, c) + of_values.at(clip(i, j), c); });
}

TEST(Recipes, TransformerXLsFourTermsAreOneTableAndTwoBiases) {
  const Matrix q = any(1, kQueries, kUnits), k = any(2, kKeys, kUnits), v = any(3, kKeys, kValues), u = any(4, 1, kUnits),
               bias = any(5, 1, kUnits);
  const Matrix r = any(6, 2 * kKeys - 1, kUnits);  // W_kR·R of the distance i − j, from −(keys − 1)
  Matrix shifted = q, rest = bias, table = r;
  for (int64_t c = 0; c < kUnits; ++c) {
    for (int64_t i = 0; i < kQueries; ++i) shifted.at(i, c) += u.at(0, c);
    rest.at(0, c) -= u.at(0, c);
    for (int64_t row = 0; row < r.rows; ++row) table.at(row, c) = r.at(r.rows - 1 - row, c);
  }
  const Relative pair{.scale = 1, .keys = table_of(table), .query_bias = tensor_of(rest, {1, kUnits})};
  expect_formula({.pair = pair}, shifted, k, v, [&](int64_t i, int64_t j) {
    const int64_t distance = i - j + kKeys - 1;
    return dot(q, i, k, j) + dot(q, i, r, distance) + dot(u, 0, k, j) + dot(bias, 0, r, distance);
  });
}

TEST(Recipes, DeBERTasDisentangledTermsAreTwoTables) {
  constexpr int64_t kReach = 5;  // their k, less one: δ ∈ [0, 2k)
  const Matrix q = any(1, kQueries, kUnits), k = any(2, kKeys, kUnits), v = any(3, kKeys, kValues);
  const Matrix key_of = any(4, 2 * kReach + 1, kUnits), query_of = any(5, 2 * kReach + 1, kUnits);
  const auto delta = [&](int64_t i, int64_t j) { return std::clamp(i - j, -kReach, kReach) + kReach; };
  Matrix a = key_of, b = query_of;  // by j − i: A[δ] = K^r_{δ(i,j)}, B[δ] = Q^r_{δ(j,i)}
  for (int64_t row = 0; row < a.rows; ++row) {
    for (int64_t c = 0; c < kUnits; ++c) a.at(row, c) = key_of.at(a.rows - 1 - row, c);
  }
  const double scale = 1 / std::sqrt(3.0 * static_cast<double>(kUnits));
  const Relative pair{.scale = static_cast<float>(scale), .keys = table_of(a), .queries = table_of(b)};
  expect_formula({.pair = pair}, q, k, v, [&](int64_t i, int64_t j) {
    return scale * (dot(q, i, k, j) + dot(q, i, key_of, delta(i, j)) + dot(k, j, query_of, delta(j, i)));
  });
}

TEST(Recipes, LuongsGeneralConcatAndLocationTransformTheQueries) {
  const Matrix q = any(1, kQueries, kStates), k = any(2, kKeys, kStates), v = any(3, kKeys, kValues), w = any(4, kStates, kStates);
  expect_formula({.pair = Dot{1}}, product(q, w), k, v, [&](int64_t i, int64_t j) {
    double sum = 0;
    for (int64_t a = 0; a < kStates; ++a) {
      for (int64_t b = 0; b < kStates; ++b) sum += q.at(i, a) * w.at(a, b) * k.at(j, b);
    }
    return sum;
  });
  const Matrix left = any(5, kStates, kUnits), right = any(6, kStates, kUnits), weight = any(7, 1, kUnits);
  expect_formula({.pair = Additive{.weight = tensor_of(weight, {1, kUnits})}}, product(q, left), product(k, right), v,
                 [&](int64_t i, int64_t j) {
                   double e = 0;
                   for (int64_t unit = 0; unit < kUnits; ++unit) {
                     double inside = 0;
                     for (int64_t c = 0; c < kStates; ++c) inside += left.at(c, unit) * q.at(i, c) + right.at(c, unit) * k.at(j, c);
                     e += weight.at(0, unit) * std::tanh(inside);
                   }
                   return e;
                 });
  const Matrix location = any(8, kStates, kKeys);
  Matrix identity = zeros(kKeys, kKeys);
  for (int64_t j = 0; j < kKeys; ++j) identity.at(j, j) = 1;
  expect_formula({.pair = Dot{1}}, product(q, location), identity, v, [&](int64_t i, int64_t j) {
    double sum = 0;
    for (int64_t c = 0; c < kStates; ++c) sum += location.at(c, j) * q.at(i, c);
    return sum;
  });
}

TEST(Recipes, CosineAndQueryKeyNormAreDotsOfUnitRows) {
  const Matrix q = any(1, kQueries, kUnits), k = any(2, kKeys, kUnits), v = any(3, kKeys, kValues);
  for (const double sharpness : {1.0, 7.5}) {
    expect_formula({.pair = Dot{static_cast<float>(sharpness)}}, unit_rows(q), unit_rows(k), v,
                   [&](int64_t i, int64_t j) { return sharpness * dot(q, i, k, j) / (length(q, i) * length(k, j)); });
  }
}

TEST(Recipes, GATsPairSumIsADotOfWidthTwoUnderARule) {
  const Matrix a = any(1, kQueries, 1), b = any(2, kKeys, 1), v = any(3, kKeys, kValues);
  Matrix q = zeros(kQueries, 2), k = zeros(kKeys, 2);
  for (int64_t i = 0; i < kQueries; ++i) q.at(i, 0) = a.at(i, 0), q.at(i, 1) = 1;
  for (int64_t j = 0; j < kKeys; ++j) k.at(j, 0) = 1, k.at(j, 1) = b.at(j, 0);
  expect_formula({.pair = Dot{1}, .terms = {rule([](auto s, auto) { return max(s, 0.2F * s); })}}, q, k, v,
                 [&](int64_t i, int64_t j) { return leaky_relu(a.at(i, 0) + b.at(j, 0)); });
}

}  // namespace
}  // namespace clearhead
