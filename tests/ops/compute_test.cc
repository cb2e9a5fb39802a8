// Compute: results that stay valid, attention that is observed and changed at its site, rotary positions.
#include "clearhead/compute.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "clearhead/error.h"
#include "random_tensor.h"
#include "refused.h"
#include "tolerance.h"
#include "values.h"

namespace clearhead {
namespace {

double at(const Tensor& t, const Shape& place) {
  int64_t offset = 0;
  for (size_t axis = 0; axis < place.size(); ++axis) offset += place[axis] * t.stride(static_cast<int>(axis));
  return static_cast<double>(t.data<float>()[offset]);
}

// softmax(q_i·k_j/√d) over the keys for which `sees` returns true, in double.
template <class Sees>
std::vector<double> softmax_row(const Tensor& q, const Tensor& k, int64_t head, int64_t query, const Sees& sees) {
  std::vector<double> row;
  double sum = 0;
  for (int64_t j = 0; j < k.size(2); ++j) {
    double dot = 0;
    for (int64_t c = 0; c < k.size(3); ++c) dot += at(q, {0, head, query, c}) * at(k, {0, head, j, c});
    row.push_back(sees(j) ? std::exp(dot / std::sqrt(static_cast<double>(k.size(3)))) : 0);
    sum += row.back();
  }
  for (double& weight : row) weight /= sum;
  return row;
}

// Compares the output of one query with the weighted sum of values.
void expect_out(const Tensor& out, const Tensor& v, int64_t head, int64_t query, const std::vector<double>& row) {
  for (int64_t c = 0; c < v.size(3); ++c) {
    double sum = 0;
    for (int64_t j = 0; j < v.size(2); ++j) sum += row[static_cast<size_t>(j)] * at(v, {0, head, j, c});
    EXPECT_NEAR(at(out, {0, head, query, c}), sum, tolerance::kFormula * 4) << "head " << head << ", query " << query;
  }
}

struct Heard : Observer {
  std::set<std::string> families{"enc"};
  struct Call {
    Site site;
    AttentionRecord record;
    KeyNorms norms;
  };
  std::vector<Call> calls;
  void begin(const RunPlan&) override {}
  bool wants(const Site& site) override { return families.count(site.family) > 0; }
  void take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) override {
    calls.push_back({site, record.pin(), norms});
  }
};

TEST(Compute, ResultsOutliveTheOpsThatFollow) {
  Compute compute, narrow({.operands = DType::kBF16});
  const Tensor x = random_tensor({2, 5, 3}, 1), u = random_tensor({12, 4}, 2), w = random_tensor({12, 3}, 3);
  const Tensor q = random_tensor({1, 2, 6, 8}, 4);
  const Tensor states = compute.gru(x, {.input_weight = w, .hidden_weight = u}), seen = narrow.attend(q, q, q);
  const Floats first = values_of(states), first_seen = values_of(seen);
  for (uint32_t seed = 5; seed < 8; ++seed) {
    compute.gru(random_tensor({2, 5, 3}, seed), {.input_weight = w, .hidden_weight = u});
    narrow.attend(random_tensor({1, 2, 6, 8}, seed), q, q);
  }
  EXPECT_EQ(values_of(states), first);
  EXPECT_EQ(values_of(seen), first_seen);
  EXPECT_EQ(seen.dtype(), DType::kF32);
  EXPECT_EQ(first_seen, values_of(to_f32(attend(to_dtype(q, DType::kBF16), to_dtype(q, DType::kBF16), to_dtype(q, DType::kBF16)).out)));
}

TEST(Compute, InferenceDisablesDropoutAndUsesRunningStatistics) {
  Compute compute;
  const Tensor x = random_tensor({4, 3}, 1), ones = Tensor::from(Floats(3, 1), {3}), zeros = Tensor::zeros({3});
  EXPECT_EQ(values_of(compute.dropout(x, 0.9)), values_of(x));
  RunningStatistics running{Tensor::from<float>({1, 2, 3}, {3}), Tensor::from<float>({4, 4, 4}, {3})};
  const Tensor out = compute.batch_norm(x, ones, zeros, running);
  for (int64_t i = 0; i < 12; ++i) {
    EXPECT_NEAR(out.data<float>()[i], (x.data<float>()[i] - static_cast<float>(1 + i % 3)) / std::sqrt(4 + 1e-5), tolerance::kFew);
  }
  EXPECT_EQ(values_of(running.mean), (Floats{1, 2, 3}));
  EXPECT_FALSE(compute.is_training());
}

TEST(Compute, AnObserverGetsTheRecordAndNormsOfEverySiteItWants) {
  constexpr int64_t kHeads = 2, kWidth = 5, d = 4;
  Heard heard;
  Compute compute({.observer = &heard});
  const Tensor q = random_tensor({1, kHeads, 6, d}, 1), k = random_tensor({1, kHeads, 6, d}, 2), v = random_tensor({1, kHeads, 6, d}, 3);
  const Tensor output = random_tensor({kWidth, kHeads * d}, 4);
  const Tensor out = compute.attend(q, k, v, {.topology = causal()}, Site{"enc", 3, 1}, output);
  compute.attend(q, k, v, {}, Site{"dec", 0});
  compute.attend(q, k, v);
  compute.attend(q, k, v, {}, Site{"enc", 4});
  ASSERT_EQ(heard.calls.size(), 2u);
  const Heard::Call& call = heard.calls[0];
  EXPECT_EQ(call.site.layer, 3);
  EXPECT_EQ(call.site.step, 1);
  EXPECT_FALSE(heard.calls[1].norms.output.defined());
  for (int64_t head = 0; head < kHeads; ++head) {
    for (int64_t i = 0; i < 6; ++i) {
      expect_out(out, v, head, i,
                 softmax_row(call.record.q, std::get<Tensor>(call.record.keys), head, i, [&](int64_t j) { return j <= i; }));
      double value = 0, projected = 0;
      for (int64_t c = 0; c < d; ++c) value += at(v, {0, head, i, c}) * at(v, {0, head, i, c});
      for (int64_t o = 0; o < kWidth; ++o) {
        double sum = 0;
        for (int64_t c = 0; c < d; ++c) sum += at(v, {0, head, i, c}) * at(output, {o, head * d + c});
        projected += sum * sum;
      }
      EXPECT_NEAR(at(call.norms.value, {0, head, i}), std::sqrt(value), tolerance::kSum);
      EXPECT_NEAR(at(call.norms.output, {0, head, i}), std::sqrt(projected), tolerance::kSum);
    }
  }
}

TEST(Compute, InterventionsApplyAtTheirSite) {
  Interventions interventions;
  interventions.ablated = {{.layer = 1, .head = 0, .family = "enc"}};
  interventions.knockouts = {{.queries = {2, 3}, .keys = {0, 2}, .layer = 1, .head = 1}};
  Compute edited({.interventions = interventions}), plain;
  const Tensor q = random_tensor({1, 2, 4, 8}, 1), k = random_tensor({1, 2, 4, 8}, 2), v = random_tensor({1, 2, 4, 8}, 3);
  const Tensor out = edited.attend(q, k, v, {}, Site{"enc", 1});
  for (int64_t i = 0; i < 4; ++i) {
    expect_out(out, v, 0, i, std::vector<double>(4, 0));
    expect_out(out, v, 1, i, softmax_row(q, k, 1, i, [&](int64_t j) { return i != 2 || j >= 2; }));
  }
  const Floats untouched = values_of(plain.attend(q, k, v));
  EXPECT_EQ(values_of(edited.attend(q, k, v, {}, Site{"enc", 0})), untouched);
  EXPECT_EQ(values_of(edited.attend(q, k, v)), untouched) << "a call without a site must not change";
}

// More ranges than fit into a rule: a table with one look-up, which hides nothing beyond the last range.
TEST(Compute, AThousandKnockoutsMatchTheFormula) {
  constexpr int64_t kKeys = 1200;
  Interventions interventions;
  for (int64_t key = 0; key < 1000; key += 2) {
    interventions.knockouts.push_back({.queries = {0, 3}, .keys = {key, key + 1}});
    interventions.knockouts.push_back({.queries = {1, 2}, .keys = {key + 1, key + 2}, .head = 1});
  }
  Compute compute({.interventions = interventions});
  const Tensor q = random_tensor({1, 2, 4, 8}, 1), k = random_tensor({1, 2, kKeys, 8}, 2), v = random_tensor({1, 2, kKeys, 8}, 3);
  const Tensor out = compute.attend(q, k, v, {}, Site{"cross", 0});
  for (int64_t head = 0; head < 2; ++head) {
    for (int64_t i = 0; i < 4; ++i) {
      const auto is_seen = [&](int64_t j) { return j >= 1000 || i == 3 || (j % 2 == 1 && !(i == 1 && head == 1)); };
      expect_out(out, v, head, i, softmax_row(q, k, head, i, is_seen));
    }
  }
}

TEST(Compute, CrossAttentionInterventionsOffsetQueriesByTheStep) {
  Interventions interventions;
  interventions.knockouts = {{.queries = {3, 4}, .keys = {1, 2}, .family = "cross"}};
  Compute compute({.interventions = interventions});
  const Tensor q = random_tensor({1, 1, 4, 8}, 1), k = random_tensor({1, 1, 7, 8}, 2), v = random_tensor({1, 1, 7, 8}, 3);
  const Tensor whole = compute.attend(q, k, v, {}, Site{"cross", 0});
  for (int64_t i = 0; i < 4; ++i) {
    const std::vector<double> row = softmax_row(q, k, 0, i, [&](int64_t j) { return i != 3 || j != 1; });
    expect_out(whole, v, 0, i, row);
    const Tensor step = compute.attend(q.slice(2, i, i + 1), k, v, {}, Site{"cross", 0, i});
    expect_out(step, v, 0, 0, row);
  }
}

// x_a' = x_a·cos − x_b·sin, x_b' = x_b·cos + x_a·sin for pairs (a, b), with the angle p·base^(−2i/dims).
TEST(Compute, RotateTurnsPairsOfChannelsByTheirPositions) {
  Compute compute;
  const Tensor x = random_tensor({3, 2, 6}, 1);
  for (const std::vector<int32_t>& positions : {std::vector<int32_t>{0, 1, 2}, std::vector<int32_t>{7, 0, 100}}) {
    for (const bool interleaved : {false, true}) {
      const Tensor out = compute.rotate(x, positions, {.base = 50, .dims = 4, .interleaved = interleaved});
      for (int64_t row = 0; row < 3; ++row) {
        for (int64_t head = 0; head < 2; ++head) {
          for (int64_t i = 0; i < 2; ++i) {
            const int64_t a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + 2;
            const double angle = positions[static_cast<size_t>(row)] * std::pow(50.0, -static_cast<double>(i) / 2);
            const double x_a = at(x, {row, head, a}), x_b = at(x, {row, head, b});
            EXPECT_NEAR(at(out, {row, head, a}), x_a * std::cos(angle) - x_b * std::sin(angle), tolerance::kFew);
            EXPECT_NEAR(at(out, {row, head, b}), x_b * std::cos(angle) + x_a * std::sin(angle), tolerance::kFew);
          }
          for (const int64_t c : {4, 5}) EXPECT_EQ(at(out, {row, head, c}), at(x, {row, head, c}));
        }
      }
    }
  }
}

TEST(Compute, InvalidDtypesHeadsAndShapesAreRefused) {
  Compute compute({.interventions = {.ablated = {{.layer = 0, .head = 2}}}});
  Heard heard;
  Compute observed({.observer = &heard});
  const Tensor q = random_tensor({1, 2, 3, 4}, 1), x = random_tensor({3, 2, 4}, 2);
  expect_refused(ErrorCode::kUnsupported, "operands of i32; expected f32 or bf16", [] { Compute({.operands = DType::kI32}); });
  expect_refused(ErrorCode::kInvalidArgument, "ablated head L0.H2 is out of range; heads are 0 to 1", [&] {
    compute.attend(q, q, q, {}, Site{"enc", 0});
  });
  expect_refused(ErrorCode::kShape, "the output weight is [5, 9]; expected [width, 8] for 2 heads of 4", [&] {
    observed.attend(q, q, q, {}, Site{"enc", 0}, Tensor::zeros({5, 9}));
  });
  expect_refused(ErrorCode::kShape, "rotate: x is [3, 2, 4] for 2 positions", [&] { compute.rotate(x, {0, 1}); });
  expect_refused(ErrorCode::kInvalidArgument, "rotate: cannot rotate 6 of 4 channels", [&] { compute.rotate(x, {0, 1, 2}, {.dims = 6}); });
  expect_refused(ErrorCode::kInvalidArgument, "rotate: cannot rotate 3 of 4 channels", [&] { compute.rotate(x, {0, 1, 2}, {.dims = 3}); });
}

}  // namespace
}  // namespace clearhead
