// Gradients at the edges: bits that do not depend on threads, batch, heads or strides; hidden NaN
// and infinities; sizes of zero; operands whose gradient is not requested. In f32 and in bf16: the
// bf16 kernels, over pairs and by matrices, each have their own mechanism to isolate hidden values.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <tuple>

#include "backends/registry.h"
#include "base/parallel.h"
#include "cases.h"

namespace clearhead::conformance {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// in_sixteens: widths are rounded up to those that the matrix kernels accept.
struct Kind {
  const Backend* backend;
  DType dtype;
  bool in_sixteens = false;
};

std::vector<Kind> kinds() {
  std::vector<Kind> all;
  for (const Backend* backend : runnable_backends()) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) all.push_back({backend, dtype});
    if (backend->isa == InstructionSet::kAvx512) all.push_back({backend, DType::kBF16, true});
  }
  return all;
}

class GradientEdges : public testing::TestWithParam<Kind> {
 protected:
  const Backend& backend_ = *GetParam().backend;
  const DType dtype_ = GetParam().dtype;
  int64_t of_keys(int64_t width) const { return GetParam().in_sixteens ? (width + 15) / 16 * 16 : width; }
  int64_t of_values(int64_t width) const { return GetParam().in_sixteens ? (width + 31) / 32 * 32 : width; }
  void TearDown() override { set_threads(2); }

  bool is_reference() const { return backend_.isa == InstructionSet::kReference; }
  Tensor given(const Tensor& tensor) const { return to_dtype(tensor, dtype_); }
  AttendGradients gradients(const AttentionSpec& spec, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_out) const {
    const Tensor values = given(v);
    return widened(run_backward(backend_, run(backend_, spec, given(q), given(k), values), values, given(d_out)));
  }
  static AttendGradients widened(AttendGradients of) {
    for (Tensor* tensor : {&of.q, &of.k, &of.v}) *tensor = to_f32(*tensor);
    return of;
  }
};

bool all_same_bits(const AttendGradients& a, const AttendGradients& b) {
  bool same = same_bits(a.q, b.q) && same_bits(a.k, b.k) && same_bits(a.v, b.v) && a.operands.size() == b.operands.size();
  for (size_t i = 0; same && i < a.operands.size(); ++i) {
    same = a.operands[i].defined() == b.operands[i].defined() && (!a.operands[i].defined() || same_bits(a.operands[i], b.operands[i]));
  }
  return same;
}

// --- bits do not depend on threads, batch, heads or strides ------------------------------------------------------------------------------

struct Text {
  std::string name{};
  AttentionSpec spec{};
};

// Every kind of operand, and biases that many pairs share. Tests pass 6 heads and a length of several strips.
std::vector<Text> texts(int64_t batch, int64_t heads, int64_t length, int64_t width) {
  Random random(21);
  std::vector<Text> all = {{"full", {}}, {"causal", {.topology = causal()}}, {"window", {.topology = window(150, 90)}}};
  AttentionSpec terms{
      .terms = {Alibi{normal(random, {heads}, 0.02f)}, SoftCap{4}, AttentionBias{normal(random, {batch, heads, 1, length})}},
      .topology = causal(),
      .normaliser = Softmax{normal(random, {heads})}};
  all.push_back({"alibi, soft-cap, bias of keys, sinks", terms});
  Tensor ids = Tensor::zeros({1, length}, DType::kI32);
  for (int64_t j = 0; j < length; ++j) ids.mutable_data<int32_t>()[j] = static_cast<int32_t>(j / 170);
  AttentionSpec shared{.terms = {AttentionBias{normal(random, {1, 1, length, length})}}};
  shared.topology.segments = Segments{ids, ids};
  all.push_back({"bias of all heads, segments", shared});
  AttentionSpec sparse{.terms = {SoftCap{4}}, .topology = causal(), .normaliser = Entmax15{}};
  all.push_back({"entmax-1.5", sparse});
  // The width of each test's q, because an operand of an additive score has that width.
  all.push_back({"additive tanh", {.score = Additive{.weight = normal(random, {heads, width}, 0.2f)}, .topology = causal()}});
  const Additive shared_weight{.weight = normal(random, {1, width}, 0.2f), .activation = Additive::Activation::kLeakyRelu};
  all.push_back({"additive leaky ReLU, one weight", {.score = shared_weight}});
  const Relative relative{
      .keys = normal(random, {heads, 301, width}), .queries = normal(random, {1, 301, width}), .query_bias = normal(random, {1, width})};
  all.push_back({"relative", {.score = relative, .topology = causal()}});
  return all;
}

TEST_P(GradientEdges, HaveOneSetOfBitsForAnyNumberOfThreads) {
  Random random(4);
  const int64_t length = is_reference() ? 60 : 1100;
  const int64_t d_k = of_keys(24), d_v = of_values(33);
  const Tensor q = normal(random, {2, 6, length, d_k}), k = normal(random, {2, 2, length, d_k}), v = normal(random, {2, 2, length, d_v});
  const Tensor d_out = normal(random, {2, 6, length, d_v});
  for (const Text& text : texts(2, 6, length, d_k)) {
    SCOPED_TRACE(text.name);
    set_threads(1);
    const AttendGradients one = gradients(text.spec, q, k, v, d_out);
    for (const int count : {2, 3, 5}) {
      set_threads(count);
      EXPECT_TRUE(all_same_bits(gradients(text.spec, q, k, v, d_out), one)) << count << " threads";
    }
  }
}

TEST_P(GradientEdges, DoNotDependOnOtherSequencesOrKeyHeads) {
  Random random(5);
  const int64_t length = is_reference() ? 60 : 700;
  const int64_t d_k = of_keys(40), d_v = of_values(16);
  const Tensor q = normal(random, {3, 6, length, d_k}), k = normal(random, {3, 2, length, d_k}), v = normal(random, {3, 2, length, d_v});
  const Tensor d_out = normal(random, {3, 6, length, d_v});
  const auto last = [](const Tensor& t, int64_t heads) { return t.slice(0, 2, 3).slice(1, t.size(1) - heads, t.size(1)); };
  for (const Text& text : texts(3, 6, length, d_k)) {
    SCOPED_TRACE(text.name);
    const AttendGradients all = gradients(text.spec, q, k, v, d_out);
    const AttentionSpec small = restricted(text.spec, 2, {3, 6}, {0, length}, length);
    const AttendGradients alone = gradients(small, last(q, 3), last(k, 1), last(v, 1), last(d_out, 3));
    EXPECT_TRUE(same_bits(alone.q, last(all.q, 3)));
    EXPECT_TRUE(same_bits(alone.k, last(all.k, 1)));
    EXPECT_TRUE(same_bits(alone.v, last(all.v, 1)));
  }
}

TEST_P(GradientEdges, StridesChangeNoBits) {
  Random random(6);
  const int64_t length = is_reference() ? 60 : 400;
  const int64_t d_k = of_keys(33), d_v = of_values(20);
  const Tensor q = normal(random, {2, 4, length, d_k}), k = normal(random, {2, 2, length, d_k}), v = normal(random, {2, 2, length, d_v});
  const Tensor d_out = normal(random, {2, 4, length, d_v});
  const std::vector<std::vector<int>> orders = {{0, 2, 1, 3}, {0, 1, 3, 2}};
  const AttendGradients plain = gradients({.topology = causal()}, q, k, v, d_out);
  for (const auto& order : orders) {  // each order is its own inverse
    const auto laid = [&](const Tensor& t) { return given(t).permute(order).clone().permute(order); };
    Result forward = run(backend_, {.topology = causal()}, laid(q), laid(k), laid(v));
    forward.out = forward.out.permute(order).clone().permute(order);
    EXPECT_TRUE(all_same_bits(widened(run_backward(backend_, forward, laid(v), laid(d_out))), plain));
  }
}

// --- hidden values -----------------------------------------------------------------------------------------------------------------------

constexpr int64_t kLength = 120;

struct Hiding {
  std::string name{};
  AttentionSpec spec{};
  std::function<bool(int64_t query, int64_t key)> sees{};
};

// Query 50 sees nothing; keys 37 and 99 are hidden from two thirds of the queries.
bool sees_by_mask(int64_t query, int64_t key) { return query != 50 && ((key != 37 && key != 99) || query % 3 == 0); }

std::vector<Hiding> hidings(int64_t d_k, int64_t d_v) {
  Tensor visible = Tensor::zeros({1, 1, kLength, kLength}, DType::kBool), bias = Tensor::zeros({1, 1, kLength, kLength});
  Tensor ids = Tensor::zeros({1, kLength}, DType::kI32);
  for (int64_t pair = 0; pair < kLength * kLength; ++pair) {
    visible.mutable_data<bool>()[pair] = sees_by_mask(pair / kLength, pair % kLength);
    bias.mutable_data<float>()[pair] = sees_by_mask(pair / kLength, pair % kLength) ? 0.25f : -kInfinity;
  }
  for (int64_t i = 0; i < kLength; ++i) ids.mutable_data<int32_t>()[i] = i == 70 ? -1 : static_cast<int32_t>(i / 45);
  AttentionSpec mask, segments;
  mask.topology.mask = Mask{visible};
  segments.topology.segments = Segments{ids, ids};
  Random random(9);
  AttentionSpec tanh{.score = Additive{.weight = normal(random, {2, d_k}, 0.2f)}, .topology = causal()}, leaky = mask;
  leaky.score = Additive{.weight = normal(random, {1, d_k}, 0.2f), .activation = Additive::Activation::kLeakyRelu};
  AttentionSpec relative = mask;
  relative.score =
      Relative{.keys = normal(random, {1, 41, d_k}), .queries = normal(random, {2, 41, d_k}), .values = normal(random, {1, 41, d_v})};
  return {{"relative", relative, sees_by_mask},
          {"additive tanh", tanh, [](int64_t i, int64_t j) { return j <= i; }},
          {"additive leaky ReLU", leaky, sees_by_mask},
          {"causal", {.topology = causal()}, [](int64_t i, int64_t j) { return j <= i; }},
          {"window", {.topology = window(5, 60)}, [](int64_t i, int64_t j) { return j >= i - 5 && j <= i + 60; }},
          {"mask", mask, sees_by_mask},
          {"bias of -inf", {.terms = {AttentionBias{bias}}}, sees_by_mask},
          {"bias of -inf under a soft-cap", {.terms = {AttentionBias{bias}, SoftCap{20}}}, sees_by_mask},
          {"mask under sparsemax", {.topology = mask.topology, .normaliser = Sparsemax{}}, sees_by_mask},
          {"mask under entmax-1.5", {.topology = mask.topology, .normaliser = Entmax15{}}, sees_by_mask},
          {"mask under linear", {.topology = mask.topology, .normaliser = LinearAttention{}}, sees_by_mask},
          {"causal under linear", {.topology = causal(), .normaliser = LinearAttention{}}, [](int64_t i, int64_t j) { return j <= i; }},
          {"segments", segments, [](int64_t i, int64_t j) { return i / 45 == j / 45 && i != 70 && j != 70; }}};
}

struct Inputs {
  Tensor q, k, v, d_out;
};

Inputs inputs(int64_t d_k, int64_t d_v) {
  Random random(8);
  return {normal(random, {1, 2, kLength, d_k}), normal(random, {1, 1, kLength, d_k}), normal(random, {1, 1, kLength, d_v}),
          normal(random, {1, 2, kLength, d_v})};
}

bool any_finite(const std::vector<float>& values) {
  return std::any_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
}

// Rows of a gradient that may depend on the poisoned value must not be finite or must be expected to differ; all other rows have the same
// bits as without it.
void expect_rows(const std::string& what, const Tensor& found, const Tensor& clean, const std::function<bool(int64_t row)>& knows) {
  for (int64_t head = 0; head < found.size(1); ++head) {
    for (int64_t row = 0; row < kLength; ++row) {
      if (!knows(row)) {
        ASSERT_TRUE(same_bits(row_of(found, head, row), row_of(clean, head, row))) << what << " row " << row;
      }
    }
  }
}

TEST_P(GradientEdges, ANaNKeyOrValueReachesOnlyQueriesThatSeeItAndTheirKeys) {
  const Inputs in = inputs(of_keys(24), of_values(17));
  for (const Hiding& hiding : hidings(of_keys(24), of_values(17))) {
    const AttendGradients clean = gradients(hiding.spec, in.q, in.k, in.v, in.d_out);
    for (const int64_t key : {0, 37, 70, 99, 119}) {
      const auto query_knows = [&](int64_t query) { return hiding.sees(query, key); };
      const auto key_knows = [&](int64_t other) {  // some query sees both keys
        for (int64_t i = 0; i < kLength; ++i) {
          if (hiding.sees(i, key) && hiding.sees(i, other)) return true;
        }
        return other == key;
      };
      for (const bool value : {true, false}) {
        SCOPED_TRACE(hiding.name + (value ? ": value " : ": key ") + std::to_string(key));
        const AttendGradients found = value ? gradients(hiding.spec, in.q, in.k, with(in.v, key, kNaN), in.d_out)
                                            : gradients(hiding.spec, in.q, with(in.k, key, kNaN), in.v, in.d_out);
        expect_rows("d_q", found.q, clean.q, query_knows);
        expect_rows("d_k", found.k, clean.k, key_knows);
        expect_rows("d_v", found.v, clean.v, key_knows);
        // Under a sparse normaliser the value of a visible key may have a zero weight.
        for (int64_t i = 0; i < kLength && (!value || std::holds_alternative<Softmax>(hiding.spec.normaliser)); ++i) {
          ASSERT_FALSE(query_knows(i) && any_finite(row_of(found.q, 1, i))) << "d_q row " << i << " saw the poisoned value";
        }
      }
    }
  }
}

TEST_P(GradientEdges, ANaNQueryOrUpstreamGradientReachesOnlyTheKeysItSees) {
  const Inputs in = inputs(of_keys(24), of_values(17));
  for (const Hiding& hiding : hidings(of_keys(24), of_values(17))) {
    const AttendGradients clean = gradients(hiding.spec, in.q, in.k, in.v, in.d_out);
    for (const int64_t query : {0, 36, 50, 61, 70, 119}) {
      const auto key_knows = [&](int64_t key) { return hiding.sees(query, key); };
      for (const float poison : {kNaN, kInfinity}) {
        for (const bool upstream : {true, false}) {
          SCOPED_TRACE(hiding.name + (upstream ? ": d_out " : ": query ") + std::to_string(query));
          const AttendGradients found = upstream ? gradients(hiding.spec, in.q, in.k, in.v, with(in.d_out, query, poison))
                                                 : gradients(hiding.spec, with(in.q, query, poison), in.k, in.v, in.d_out);
          expect_rows("d_q", found.q, clean.q, [&](int64_t row) { return row == query; });
          expect_rows("d_k", found.k, clean.k, key_knows);
          expect_rows("d_v", found.v, clean.v, key_knows);
        }
      }
    }
  }
}

TEST_P(GradientEdges, RowsThatSeeNothingAndKeysThatNobodySeesAreZeros) {
  const Inputs in = inputs(of_keys(24), of_values(17));
  for (const Hiding& hiding : hidings(of_keys(24), of_values(17))) {
    SCOPED_TRACE(hiding.name);
    bool blind = true;  // whether query 50 sees nothing
    for (int64_t key = 0; key < kLength; ++key) blind = blind && !hiding.sees(50, key);
    const AttendGradients found = gradients(hiding.spec, in.q, in.k, in.v, with(in.d_out, 50, blind ? kNaN : 1));
    for (int64_t row = 0; row < kLength; ++row) {
      bool sees = false, seen = false;
      for (int64_t other = 0; other < kLength; ++other) sees |= hiding.sees(row, other), seen |= hiding.sees(other, row);
      const auto are_zeros = [](const std::vector<float>& values) {
        return std::count(values.begin(), values.end(), 0.0F) == std::ssize(values);
      };
      EXPECT_TRUE(sees || are_zeros(row_of(found.q, 1, row))) << "query " << row;
      EXPECT_TRUE(seen || are_zeros(row_of(found.k, 0, row))) << "key " << row;
      EXPECT_TRUE(seen || are_zeros(row_of(found.v, 0, row))) << "value " << row;
    }
  }
}

// --- sizes of zero, and gradients that are not requested ---------------------------------------------------------------------------------

TEST_P(GradientEdges, SizesOfZeroGiveEmptyOrZeroResults) {
  const auto shaped = [&](int64_t batch, int64_t heads, int64_t key_heads, int64_t queries, int64_t keys, int64_t d_v) {
    return gradients({.topology = causal()}, Tensor::zeros({batch, heads, queries, 4}), Tensor::zeros({batch, key_heads, keys, 4}),
                     Tensor::zeros({batch, key_heads, keys, d_v}), Tensor::zeros({batch, heads, queries, d_v}));
  };
  EXPECT_EQ(shaped(0, 2, 1, 3, 3, 4).q.numel(), 0);
  EXPECT_EQ(shaped(1, 0, 0, 3, 3, 4).k.numel(), 0);
  const AttendGradients no_queries = shaped(1, 2, 1, 0, 3, 4), no_keys = shaped(2, 2, 1, 3, 0, 4), no_values = shaped(1, 1, 1, 3, 3, 0);
  EXPECT_TRUE(same_bits(no_queries.k, Tensor::zeros({1, 1, 3, 4})) && same_bits(no_queries.v, Tensor::zeros({1, 1, 3, 4})));
  EXPECT_TRUE(same_bits(no_keys.q, Tensor::zeros({2, 2, 3, 4})));
  EXPECT_TRUE(same_bits(no_values.q, Tensor::zeros({1, 1, 3, 4})) && same_bits(no_values.k, Tensor::zeros({1, 1, 3, 4})));
}

TEST_P(GradientEdges, OperandsThatAreNotWantedChangeNothing) {
  Random random(12);
  Inputs in = inputs(of_keys(24), of_values(17));
  for (Tensor* tensor : {&in.q, &in.k, &in.v, &in.d_out}) *tensor = given(*tensor);
  const AttentionSpec spec{.terms = {Alibi{normal(random, {2}, 0.1f)}, AttentionBias{normal(random, {1, 1, kLength, kLength})}, SoftCap{5}},
                           .normaliser = Softmax{normal(random, {2})}};
  const Result forward = run(backend_, spec, in.q, in.k, in.v);
  const AttendGradients all = run_backward(backend_, forward, in.v, in.d_out);
  ASSERT_EQ(all.operands.size(), 3U);
  for (int wanted = 0; wanted < 3; ++wanted) {
    int number = 0;
    const AttendGradients some = run_backward(backend_, forward, in.v, in.d_out, [&](const std::string&) { return number++ == wanted; });
    EXPECT_TRUE(same_bits(some.q, all.q) && same_bits(some.k, all.k) && same_bits(some.v, all.v)) << wanted;
    for (size_t i = 0; i < 3; ++i) {
      ASSERT_EQ(some.operands[i].defined(), static_cast<int>(i) == wanted);
      EXPECT_TRUE(!some.operands[i].defined() || same_bits(some.operands[i], all.operands[i])) << wanted;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, GradientEdges, testing::ValuesIn(kinds()), [](const auto& of) {
  return table_name(*of.param.backend) + "_" + to_string(of.param.dtype) + (of.param.in_sixteens ? "_sixteens" : "");
});

}  // namespace
}  // namespace clearhead::conformance
