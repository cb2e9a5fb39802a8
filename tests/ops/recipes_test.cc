// Scores from the literature, each compared with its paper's formula written out in double: the score functions of spec.h, mapped as their
// docstrings say, and the recipes of docs/spec.md that only transform q and k. Compares outputs and rows of the map on every backend. For
// recipes it also compares the gradients of their inputs before the transform, which follow from the gradients of the call, with
// differences of the formula.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>
#include <vector>

#include "clearhead/attend.h"
#include "on_every_backend.h"
#include "tolerance.h"

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

Matrix transposed(const Matrix& a) {
  Matrix out = zeros(a.columns, a.rows);
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < a.columns; ++j) out.at(j, i) = a.at(i, j);
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

// d_a from the gradient of its unit rows u:  (d_u − u·(u·d_u))/|a|.
Matrix through_unit_rows(const Matrix& a, const Matrix& d_unit) {
  const Matrix unit = unit_rows(a);
  Matrix out = a;
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t c = 0; c < a.columns; ++c) out.at(i, c) = (d_unit.at(i, c) - unit.at(i, c) * dot(unit, i, d_unit, i)) / length(a, i);
  }
  return out;
}

Tensor tensor_of(const Matrix& a, Shape shape) {
  std::vector<float> values;
  for (const double x : a.data) values.push_back(static_cast<float>(x));
  return Tensor::from(values, std::move(shape));
}
Tensor table_of(const Matrix& a) { return tensor_of(a, {1, a.rows, a.columns}); }

using Score = std::function<double(int64_t i, int64_t j)>;
using Value = std::function<double(int64_t i, int64_t j, int64_t c)>;

// The rows of all heads are stacked: the i and j of a score count through all of them, and are paired only within a head.
struct Call {
  AttentionSpec spec{};
  Matrix q{}, k{}, v{};
  int64_t heads = 1;

  Tensor by_heads(const Matrix& a) const { return tensor_of(a, {1, heads, a.rows / heads, a.columns}); }
  Attended run() const { return attend(by_heads(q), by_heads(k), by_heads(v), spec); }
};

// softmax_j(score) of every row: [heads·queries, keys].
Matrix softmax_of(const Call& call, const Score& score) {
  const int64_t queries = call.q.rows / call.heads, keys = call.k.rows / call.heads;
  Matrix out = zeros(call.q.rows, keys);
  for (int64_t i = 0; i < out.rows; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < keys; ++j) sum += out.at(i, j) = std::exp(score(i, i / queries * keys + j));
    for (int64_t j = 0; j < keys; ++j) out.at(i, j) /= sum;
  }
  return out;
}

Matrix out_of(const Call& call, const Score& score, const Value& value = nullptr) {
  const int64_t queries = call.q.rows / call.heads, keys = call.k.rows / call.heads;
  const Matrix weights = softmax_of(call, score);
  Matrix out = zeros(call.q.rows, call.v.columns);
  for (int64_t i = 0; i < out.rows; ++i) {
    for (int64_t j = 0; j < keys; ++j) {
      const int64_t key = i / queries * keys + j;
      for (int64_t c = 0; c < out.columns; ++c) out.at(i, c) += weights.at(i, j) * (value ? value(i, key, c) : call.v.at(key, c));
    }
  }
  return out;
}

void expect_near(const Matrix& expected, const float* found, double tolerance, const char* what) {
  for (int64_t i = 0; i < expected.rows; ++i) {
    for (int64_t c = 0; c < expected.columns; ++c)
      ASSERT_NEAR(static_cast<double>(found[i * expected.columns + c]), expected.at(i, c), tolerance) << what << " " << i << ", " << c;
  }
}

// Expects that attend() gives Σ_j softmax_j(score)·value, and its map the softmax.
void expect_formula(const Call& call, const Score& score, const Value& value = nullptr) {
  const Matrix out = out_of(call, score, value), weights = softmax_of(call, score);
  const int64_t queries = call.q.rows / call.heads, keys = call.k.rows / call.heads;
  std::vector<int64_t> rows(static_cast<size_t>(queries));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  on_every_backend([&] {
    const Attended done = call.run();
    expect_near(out, done.out.data<float>(), tolerance::kFormula, "row");
    std::vector<float> map(weights.data.size());
    for (int64_t head = 0; head < call.heads; ++head) {
      backend().weights({.record = done.record,
                         .head = head,
                         .rows = rows.data(),
                         .row_count = queries,
                         .keys = {0, keys},
                         .out = map.data() + head * queries * keys,
                         .out_stride = keys});
    }
    expect_near(weights, map.data(), tolerance::kFormula, "row of the map");
  });
}

void expect_formula(const AttentionSpec& spec, const Matrix& q, const Matrix& k, const Matrix& v, const Score& score,
                    const Value& value = nullptr) {
  expect_formula(Call{spec, q, k, v}, score, value);
}

// The gradients of a call, in the form of its matrices.
struct CallGradients {
  Matrix q, k;
  std::vector<Matrix> operands;  // one row each
};

// A recipe, given by its inputs: q, k, and learned parameters.
struct Recipe {
  std::vector<Matrix> inputs;
  std::function<Call(const std::vector<Matrix>&)> call;
  std::function<Score(const std::vector<Matrix>&)> score;                                          // the paper's formula
  std::function<std::vector<Matrix>(const std::vector<Matrix>&, const CallGradients&)> through{};  // the transform's backward pass
};

double loss_of(const Recipe& recipe, const std::vector<Matrix>& inputs, const Matrix& d_out) {
  const Matrix out = out_of(recipe.call(inputs), recipe.score(inputs));
  double sum = 0;
  for (size_t i = 0; i < out.data.size(); ++i) sum += out.data[i] * d_out.data[i];
  return sum;
}

// Central differences with two steps, extrapolated.
double difference(const Recipe& recipe, const Matrix& d_out, size_t input, size_t i) {
  std::vector<Matrix> inputs = recipe.inputs;
  const auto slope = [&](double step) {
    inputs[input].data[i] = recipe.inputs[input].data[i] + step;
    const double above = loss_of(recipe, inputs, d_out);
    inputs[input].data[i] = recipe.inputs[input].data[i] - step;
    return (above - loss_of(recipe, inputs, d_out)) / (2 * step);
  };
  return (4 * slope(5e-4) - slope(1e-3)) / 3;
}

Matrix matrix_of(const Tensor& t, int64_t rows, int64_t columns) {
  return {rows, columns, std::vector<double>(t.data<float>(), t.data<float>() + t.numel())};
}

CallGradients gradients_of(const Call& call, const Matrix& d_out) {
  const Attended done = call.run();
  const AttendGradients found = attend_gradients(done.record, call.by_heads(call.v), done.out, call.by_heads(d_out));
  CallGradients out{matrix_of(found.q, call.q.rows, call.q.columns), matrix_of(found.k, call.k.rows, call.k.columns), {}};
  for (const Tensor& operand : found.operands) out.operands.push_back(matrix_of(operand, 1, operand.numel()));
  return out;
}

void expect_recipe(const Recipe& recipe) {
  const Call call = recipe.call(recipe.inputs);
  expect_formula(call, recipe.score(recipe.inputs));
  const Matrix d_out = any(99, call.q.rows, call.v.columns);
  std::vector<Matrix> expected = recipe.inputs;
  for (size_t input = 0; input < expected.size(); ++input) {
    for (size_t i = 0; i < expected[input].data.size(); ++i) expected[input].data[i] = difference(recipe, d_out, input, i);
  }
  on_every_backend([&] {
    const std::vector<Matrix> found = recipe.through(recipe.inputs, gradients_of(call, d_out));
    ASSERT_EQ(found.size(), expected.size());
    for (size_t input = 0; input < expected.size(); ++input) {
      for (size_t i = 0; i < expected[input].data.size(); ++i)
        ASSERT_NEAR(found[input].data[i], expected[input].data[i],
                    tolerance::kGradientOfFormula * std::max(1.0, std::abs(expected[input].data[i])))
            << "gradient " << i << " of input " << input;
    }
  });
}

constexpr int64_t kQueries = 21, kKeys = 21, kStates = 6, kUnits = 9, kValues = 5;

double leaky_relu(double x) { return x > 0 ? x : 0.2 * x; }

TEST(Recipes, BahdanauAttentionIsTheAdditiveScore) {
  const Matrix s = any(1, kQueries, kStates), h = any(2, kKeys, kStates), w = any(3, kStates, kUnits), u = any(4, kStates, kUnits),
               weight = any(5, 1, kUnits), v = any(6, kKeys, kValues);
  expect_formula({.score = Additive{.weight = tensor_of(weight, {1, kUnits})}}, product(s, w), product(h, u), v, [&](int64_t i, int64_t j) {
    double e = 0;
    for (int64_t unit = 0; unit < kUnits; ++unit) {
      double inside = 0;
      for (int64_t c = 0; c < kStates; ++c) inside += w.at(c, unit) * s.at(i, c) + u.at(c, unit) * h.at(j, c);
      e += weight.at(0, unit) * std::tanh(inside);
    }
    return e;
  });
}

TEST(Recipes, GATv2IsTheAdditiveScoreWithALeakyReLU) {
  const Matrix h = any(1, kKeys, kStates), left = any(3, kStates, kUnits), right = any(4, kStates, kUnits), a = any(5, 1, kUnits),
               v = any(6, kKeys, kValues);
  const Additive pair{.weight = tensor_of(a, {1, kUnits}), .activation = Additive::Activation::kLeakyRelu};
  expect_formula({.score = pair}, product(h, left), product(h, right), v, [&](int64_t i, int64_t j) {
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
      {.score = Relative{.keys = table_of(of_keys), .values = table_of(of_values)}}, q, k, v,
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
  const Matrix r = any(6, 2 * kKeys - 1, kUnits);  // W_kR·R for the distance i − j, from −(keys − 1)
  Matrix shifted = q, rest = bias, table = r;
  for (int64_t c = 0; c < kUnits; ++c) {
    for (int64_t i = 0; i < kQueries; ++i) shifted.at(i, c) += u.at(0, c);
    rest.at(0, c) -= u.at(0, c);
    for (int64_t row = 0; row < r.rows; ++row) table.at(row, c) = r.at(r.rows - 1 - row, c);
  }
  const Relative pair{.scale = 1, .keys = table_of(table), .query_bias = tensor_of(rest, {1, kUnits})};
  expect_formula({.score = pair}, shifted, k, v, [&](int64_t i, int64_t j) {
    const int64_t distance = i - j + kKeys - 1;
    return dot(q, i, k, j) + dot(q, i, r, distance) + dot(u, 0, k, j) + dot(bias, 0, r, distance);
  });
}

// The paper's δ(i, j) ∈ [0, 2k) is not symmetric: 0 where i − j ≤ −k, but 2k − 1 both where i − j ≥ k and at i − j = k − 1. Queries see
// keys beyond k on both sides.
TEST(Recipes, DeBERTasDisentangledTermsAreTwoTablesOfACheckpointsRows) {
  constexpr int64_t kSpan = 5;  // the paper's k
  const Matrix q = any(1, kQueries, kUnits), k = any(2, kKeys, kUnits), v = any(3, kKeys, kValues);
  const Matrix key_of = any(4, 2 * kSpan, kUnits),
               query_of = any(5, 2 * kSpan, kUnits);  // K^r, Q^r: projected rows of the checkpoint's table
  const auto delta = [&](int64_t i, int64_t j) { return i - j <= -kSpan ? 0 : i - j >= kSpan ? 2 * kSpan - 1 : i - j + kSpan; };
  Matrix a = zeros(2 * kSpan + 1, kUnits), b = a;
  for (int64_t row = 0; row <= 2 * kSpan; ++row) {  // for j − i = row − k
    for (int64_t c = 0; c < kUnits; ++c) {
      a.at(row, c) = key_of.at(std::min(2 * kSpan - row, 2 * kSpan - 1), c);
      b.at(row, c) = query_of.at(std::min(row, 2 * kSpan - 1), c);
    }
  }
  const double scale = 1 / std::sqrt(3.0 * static_cast<double>(kUnits));
  const Relative pair{.scale = static_cast<float>(scale), .keys = table_of(a), .queries = table_of(b)};
  expect_formula({.score = pair}, q, k, v, [&](int64_t i, int64_t j) {
    return scale * (dot(q, i, k, j) + dot(q, i, key_of, delta(i, j)) + dot(k, j, query_of, delta(j, i)));
  });
}

TEST(Recipes, LuongsGeneralTransformsTheQueries) {
  const Matrix v = any(3, kKeys, kValues);
  expect_recipe({
      .inputs = {any(1, kQueries, kStates), any(2, kKeys, kStates), any(4, kStates, kStates)},
      .call =
          [&](const auto& in) {
            return Call{{.score = Dot{1}}, product(in[0], in[2]), in[1], v};
          },
      .score =
          [](const auto& in) {
            return [=](int64_t i, int64_t j) {
              double sum = 0;
              for (int64_t a = 0; a < kStates; ++a) {
                for (int64_t b = 0; b < kStates; ++b) sum += in[0].at(i, a) * in[2].at(a, b) * in[1].at(j, b);
              }
              return sum;
            };
          },
      .through =
          [](const auto& in, const CallGradients& of) {
            return std::vector<Matrix>{product(of.q, transposed(in[2])), of.k, product(transposed(in[0]), of.q)};
          },
  });
}

TEST(Recipes, LuongsConcatIsAdditiveAndLocationIsADotWithIdentityKeys) {
  const Matrix q = any(1, kQueries, kStates), k = any(2, kKeys, kStates), v = any(3, kKeys, kValues);
  const Matrix left = any(5, kStates, kUnits), right = any(6, kStates, kUnits), weight = any(7, 1, kUnits);
  expect_formula({.score = Additive{.weight = tensor_of(weight, {1, kUnits})}}, product(q, left), product(k, right), v,
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
  expect_formula({.score = Dot{1}}, product(q, location), identity, v, [&](int64_t i, int64_t j) {
    double sum = 0;
    for (int64_t c = 0; c < kStates; ++c) sum += location.at(c, j) * q.at(i, c);
    return sum;
  });
}

double cosine(const Matrix& q, int64_t i, const Matrix& k, int64_t j) { return dot(q, i, k, j) / (length(q, i) * length(k, j)); }

TEST(Recipes, CosineIsADotOfUnitRows) {
  const Matrix v = any(3, kKeys, kValues);
  for (const double sharpness : {1.0, 7.5}) {
    expect_recipe({
        .inputs = {any(1, kQueries, kUnits), any(2, kKeys, kUnits)},
        .call =
            [&](const auto& in) {
              return Call{{.score = Dot{static_cast<float>(sharpness)}}, unit_rows(in[0]), unit_rows(in[1]), v};
            },
        .score = [=](const auto& in) { return [=](int64_t i, int64_t j) { return sharpness * cosine(in[0], i, in[1], j); }; },
        .through =
            [](const auto& in, const CallGradients& of) {
              return std::vector<Matrix>{through_unit_rows(in[0], of.q), through_unit_rows(in[1], of.k)};
            },
    });
  }
}

constexpr int64_t kHeads = 2;

// A learned g per head: the rule divides by t = 1/g, so d_g = −d_t/g².
TEST(Recipes, QueryKeyNormWithALearnedFactorIsATemperatureOfUnitRows) {
  const Matrix v = any(3, kHeads * kKeys, kValues), g{1, kHeads, {3, 9}};
  expect_recipe({
      .inputs = {any(1, kHeads * kQueries, kUnits), any(2, kHeads * kKeys, kUnits), g},
      .call =
          [&](const auto& in) {
            const Matrix t{1, kHeads, {1 / in[2].at(0, 0), 1 / in[2].at(0, 1)}};
            return Call{{.score = Dot{1}, .terms = {temperature(tensor_of(t, {kHeads}))}}, unit_rows(in[0]), unit_rows(in[1]), v, kHeads};
          },
      .score = [](const auto& in) { return [=](int64_t i, int64_t j) { return in[2].at(0, i / kQueries) * cosine(in[0], i, in[1], j); }; },
      .through =
          [](const auto& in, const CallGradients& of) {
            Matrix d_g = in[2];
            for (int64_t h = 0; h < kHeads; ++h) d_g.at(0, h) = -of.operands[0].at(0, h) / (in[2].at(0, h) * in[2].at(0, h));
            return std::vector<Matrix>{through_unit_rows(in[0], of.q), through_unit_rows(in[1], of.k), d_g};
          },
  });
}

// An image of 3 × 7, read row by row; the τ and the table of each head are learned.
TEST(Recipes, SwinV2sScaledCosineIsATemperatureOfUnitRowsAndATableOfTwoDimensions) {
  constexpr int64_t kHeight = 3, kWidth = 7, kEntries = (2 * kHeight - 1) * (2 * kWidth - 1);
  static_assert(kHeight * kWidth == kQueries && kQueries == kKeys);
  const Matrix v = any(3, kHeads * kKeys, kValues), tau{1, kHeads, {0.5, 0.125}};
  const auto biased = [](const Matrix& table, int64_t i, int64_t j) {
    const int64_t a = i % kQueries, b = j % kKeys;
    return table.at(i / kQueries, (a / kWidth - b / kWidth + kHeight - 1) * (2 * kWidth - 1) + a % kWidth - b % kWidth + kWidth - 1);
  };
  const auto bias = [](const Matrix& table) {
    return relative_2d(tensor_of(table, {kHeads, 2 * kHeight - 1, 2 * kWidth - 1}), kHeight, kWidth);
  };
  const Recipe recipe{
      .inputs = {any(1, kHeads * kQueries, kUnits), any(2, kHeads * kKeys, kUnits), tau, any(5, kHeads, kEntries)},
      .call =
          [&](const auto& in) {
            const AttentionSpec spec{.score = Dot{1}, .terms = {temperature(tensor_of(in[2], {kHeads})), bias(in[3])}};
            return Call{spec, unit_rows(in[0]), unit_rows(in[1]), v, kHeads};
          },
      .score =
          [&](const auto& in) {
            return [=](int64_t i, int64_t j) { return cosine(in[0], i, in[1], j) / in[2].at(0, i / kQueries) + biased(in[3], i, j); };
          },
      .through =
          [](const auto& in, const CallGradients& of) {
            return std::vector<Matrix>{through_unit_rows(in[0], of.q), through_unit_rows(in[1], of.k), of.operands[0], of.operands[1]};
          },
  };
  expect_recipe(recipe);
  const Matrix &q = recipe.inputs[0], &k = recipe.inputs[1], &table = recipe.inputs[3];  // one τ for all heads: the scale
  expect_formula(Call{{.score = Dot{4}, .terms = {bias(table)}}, unit_rows(q), unit_rows(k), v, kHeads},
                 [&](int64_t i, int64_t j) { return cosine(q, i, k, j) / 0.25 + biased(table, i, j); });
}

// Rounds to multiples of 1/32 and adds `beside`, which is 0 or 1/64, so that no sum of two is near the kink of the rectifier, where
// differences mix both slopes.
Matrix coarse(Matrix a, double beside) {
  for (double& x : a.data) x = std::round(x * 32) / 32 + beside;
  return a;
}

TEST(Recipes, GATScoreIsADotOfWidthTwoUnderARule) {
  const Matrix v = any(3, kKeys, kValues);
  expect_recipe({
      .inputs = {coarse(any(1, kQueries, 1), 0), coarse(any(2, kKeys, 1), 1.0 / 64)},
      .call =
          [&](const auto& in) {
            Matrix q = zeros(kQueries, 2), k = zeros(kKeys, 2);
            for (int64_t i = 0; i < kQueries; ++i) q.at(i, 0) = in[0].at(i, 0), q.at(i, 1) = 1;
            for (int64_t j = 0; j < kKeys; ++j) k.at(j, 0) = 1, k.at(j, 1) = in[1].at(j, 0);
            return Call{{.score = Dot{1}, .terms = {rule([](auto s, auto) { return max(s, 0.2F * s); })}}, q, k, v};
          },
      .score = [](const auto& in) { return [=](int64_t i, int64_t j) { return leaky_relu(in[0].at(i, 0) + in[1].at(j, 0)); }; },
      .through =
          [](const auto&, const CallGradients& of) {
            Matrix a = zeros(kQueries, 1), b = zeros(kKeys, 1);
            for (int64_t i = 0; i < kQueries; ++i) a.at(i, 0) = of.q.at(i, 0);
            for (int64_t j = 0; j < kKeys; ++j) b.at(j, 0) = of.k.at(j, 1);
            return std::vector<Matrix>{a, b};
          },
  });
}

}  // namespace
}  // namespace clearhead
