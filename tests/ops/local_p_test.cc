// Attention around predicted centres (local-p) against the paper's formula, with different numbers of queries and keys.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "clearhead/attend.h"
#include "on_every_backend.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

Tensor uniform(uint32_t seed, Shape shape) {
  std::mt19937 random(seed);
  Tensor out = Tensor::empty(std::move(shape));
  for (int64_t i = 0; i < out.numel(); ++i) out.mutable_data<float>()[i] = static_cast<float>(static_cast<double>(random()) * 0x1p-31 - 1);
  return out;
}

// Centres anywhere among the keys and up to one position beyond their ends, but never so that a key is close to the end of a window.
Tensor centres_among(int64_t keys, uint32_t seed, Shape shape) {
  Tensor out = uniform(seed, std::move(shape));
  for (int64_t i = 0; i < out.numel(); ++i) {
    const double place = (static_cast<double>(out.data<float>()[i]) + 1) / 2 * static_cast<double>(keys + 1) - 1;
    out.mutable_data<float>()[i] = static_cast<float>(std::floor(place) + 0.2 + 0.6 * (place - std::floor(place)));
  }
  return out;
}

double at(const Tensor& t, std::vector<int64_t> index) {
  int64_t place = 0;
  for (int axis = 0; axis < t.rank(); ++axis) place += t.size(axis) == 1 ? 0 : index[static_cast<size_t>(axis)] * t.stride(axis);
  return static_cast<double>(t.data<float>()[place]);
}

struct Case {
  int64_t queries, keys, reach, batches, heads;  // batches and heads: of the centres
  static constexpr int64_t kBatches = 2, kHeads = 3, kWidth = 8, kValues = 4;
  Tensor q = uniform(1, {kBatches, kHeads, queries, kWidth}), k = uniform(2, {kBatches, kHeads, keys, kWidth}),
         v = uniform(3, {kBatches, kHeads, keys, kValues}), d_out = uniform(4, {kBatches, kHeads, queries, kValues}),
         centres = centres_among(keys, 5, {batches, heads, queries});
  AttentionSpec spec() const {
    AttentionSpec local = local_p(centres, reach);
    local.score = Dot{1};  // Luong's dot product is not scaled
    return local;
  }
};

// Row (b, h, i) with its centre shifted by `moved`: a_t(s) = softmax over [p − D, p + D] of the
// scores, times exp(−(s − p)²/(2σ²)), σ = D/2.
std::vector<double> row(const Case& of, int64_t b, int64_t h, int64_t i, double moved, std::vector<double>* aligned = nullptr) {
  const double centre = at(of.centres, {b, h, i}), sigma = static_cast<double>(of.reach) / 2;
  std::vector<double> weights(static_cast<size_t>(of.keys), 0), out(Case::kValues, 0);
  double total = 0;
  for (int64_t j = 0; j < of.keys; ++j) {
    if (std::abs(static_cast<double>(j) - centre) > static_cast<double>(of.reach)) continue;
    double score = 0;
    for (int64_t c = 0; c < Case::kWidth; ++c) score += at(of.q, {b, h, i, c}) * at(of.k, {b, h, j, c});
    total += weights[static_cast<size_t>(j)] = std::exp(score);
  }
  for (int64_t j = 0; j < of.keys; ++j) {
    if (total > 0) weights[static_cast<size_t>(j)] /= total;
    const double away = (static_cast<double>(j) - centre - moved) / sigma;
    for (int64_t c = 0; c < Case::kValues; ++c)
      out[static_cast<size_t>(c)] += weights[static_cast<size_t>(j)] * std::exp(-away * away / 2) * at(of.v, {b, h, j, c});
  }
  if (aligned) *aligned = weights;
  return out;
}

const std::vector<Case> kCases = {{13, 37, 5, 2, 3}, {40, 21, 3, 1, 1}, {150, 90, 20, 1, 3}, {7, 300, 1, 2, 1}};

TEST(LocalP, MatchesThePapersFormulaForDifferentQueryAndKeyCounts) {
  for (const Case& of : kCases) {
    on_every_backend([&] {
      const Attended done = attend(of.q, of.k, of.v, of.spec());
      for (int64_t item = 0; item < Case::kBatches * Case::kHeads * of.queries; ++item) {
        const int64_t i = item % of.queries, h = item / of.queries % Case::kHeads, b = item / of.queries / Case::kHeads;
        std::vector<double> aligned;
        const std::vector<double> expected = row(of, b, h, i, 0, &aligned);
        for (int64_t c = 0; c < Case::kValues; ++c)
          ASSERT_NEAR(at(done.out, {b, h, i, c}), expected[static_cast<size_t>(c)], tolerance::kFormula)
              << "row " << item << " of " << of.queries;
        std::vector<float> map(static_cast<size_t>(of.keys));
        backend().weights({.record = done.record,
                           .batch = b,
                           .head = h,
                           .rows = &i,
                           .row_count = 1,
                           .keys = {0, of.keys},
                           .out = map.data(),
                           .out_stride = of.keys});
        for (size_t j = 0; j < map.size(); ++j)
          ASSERT_NEAR(static_cast<double>(map[j]), aligned[j], tolerance::kFormula) << "row " << item << " key " << j;
      }
    });
  }
}

TEST(LocalP, TheGradientOfCentresMatchesFiniteDifferences) {
  for (const Case& of : kCases) {
    on_every_backend([&] {
      const AttentionSpec spec = of.spec();
      const Attended done = attend(of.q, of.k, of.v, spec);
      const AttendGradients found = attend_gradients(done.record, of.v, done.out, of.d_out);
      size_t place = 0, at_place = 0;
      for_each_operand(spec, [&](const std::string& name, const Tensor&) { at_place = name == "centres" ? place : at_place, ++place; });
      const Tensor& d_centres = found.operands[at_place];
      std::vector<double> expected(static_cast<size_t>(of.centres.numel()), 0);
      for (int64_t item = 0; item < Case::kBatches * Case::kHeads * of.queries; ++item) {
        const int64_t i = item % of.queries, h = item / of.queries % Case::kHeads, b = item / of.queries / Case::kHeads;
        const std::vector<double> above = row(of, b, h, i, 1e-4), below = row(of, b, h, i, -1e-4);
        const int64_t to = ((of.batches == 1 ? 0 : b) * of.heads + (of.heads == 1 ? 0 : h)) * of.queries + i;
        for (int64_t c = 0; c < Case::kValues; ++c) {
          const auto channel = static_cast<size_t>(c);
          expected[static_cast<size_t>(to)] += (above[channel] - below[channel]) / 2e-4 * at(of.d_out, {b, h, i, c});
        }
      }
      for (int64_t i = 0; i < of.centres.numel(); ++i)
        ASSERT_NEAR(static_cast<double>(d_centres.data<float>()[i]), expected[static_cast<size_t>(i)], tolerance::kGradientF32) << i;
    });
  }
}

TEST(LocalP, RefusesAnInvalidReachOrInvalidCentres) {
  const Tensor centres = Tensor::zeros({1, 1, 5});
  expect_refused(ErrorCode::kInvalidArgument, "a reach of 0 keys", [&] { (void)local_p(centres, 0); });
  expect_refused(ErrorCode::kShape, "f32 [5]; expected f32 [batch or 1, head or 1, query]",
                 [&] { (void)local_p(centres.reshape({5}), 2); });
  expect_refused(ErrorCode::kShape, "i32 [1, 1, 5]", [&] { (void)local_p(Tensor::zeros({1, 1, 5}, DType::kI32), 2); });
  expect_refused(ErrorCode::kShape, "missing", [&] { (void)local_p(Tensor(), 2); });
  const Tensor x = uniform(1, {1, 1, 6, 8});
  expect_refused(ErrorCode::kShape, "operand \"centres\": expected f32 [batch|1, head|1, query] = [1, 1, 6], found f32 [1, 1, 5]",
                 [&] { (void)attend(x, x, x, local_p(centres, 2)); });
}

}  // namespace
}  // namespace clearhead
