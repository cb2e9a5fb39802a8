// Attention under rules, compared with the same attention under a dense bias or mask that is written out pair by pair.
#include "clearhead/rule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "clearhead/attend.h"
#include "clearhead/error.h"
#include "refused.h"
#include "spec/rule_math.h"
#include "tolerance.h"

namespace clearhead {
namespace {

constexpr int64_t kBatch = 2, kHeads = 2, kLength = 300, kWidth = 16;

Tensor noise(Shape shape, uint32_t seed) {
  Tensor tensor = Tensor::empty(std::move(shape));
  float* values = tensor.mutable_data<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    seed = seed * 1664525u + 1013904223u;
    values[i] = static_cast<float>(static_cast<int32_t>(seed)) * 0x1p-31f;
  }
  return tensor;
}

struct Inputs {
  Tensor q = noise({kBatch, kHeads, kLength, kWidth}, 1), k = noise({kBatch, kHeads, kLength, kWidth}, 2),
         v = noise({kBatch, kHeads, kLength, kWidth}, 3);
};

// The result of a rule for every pair as a dense tensor; terms are evaluated at score 0.
template <class T>
Tensor written_out(const Rule& rule, DType dtype) {
  Tensor out = Tensor::zeros({kBatch, kHeads, kLength, kLength}, dtype);
  T* to = out.mutable_data<T>();
  RuleReader reader(rule);
  for (int64_t b = 0; b < kBatch; ++b) {
    for (int64_t h = 0; h < kHeads; ++h) {
      for (int64_t i = 0; i < kLength; ++i) {
        for (int64_t j = 0; j < kLength; ++j) *to++ = static_cast<T>(reader.value({0, b, h, i, j}));
      }
    }
  }
  return out;
}

void expect_same(const Tensor& found, const Tensor& expected, const std::string& name) {
  ASSERT_EQ(found.shape(), expected.shape()) << name;
  for (int64_t i = 0; i < found.numel(); ++i) {
    ASSERT_NEAR(found.data<float>()[i], expected.data<float>()[i], tolerance::kSum) << name << " element " << i;
  }
}

// The description, written to JSON and read back.
AttentionSpec read_back(const AttentionSpec& spec) {
  return spec_from_json(to_json(spec), "spec", [&](const std::string& wanted) {
    Tensor found;
    for_each_operand(spec, [&](const std::string& name, const Tensor& operand) { found = name == wanted ? operand : found; });
    return found;
  });
}

TEST(AttendByRule, PublishedBiasesEqualADenseBias) {
  const Inputs in;
  const std::vector<std::pair<std::string, Rule>> rules = {{"t5 both ways", t5_bias(noise({32, kHeads}, 4), true)},
                                                           {"t5 causal", t5_bias(noise({20, kHeads}, 5), false, 60)},
                                                           {"alibi in two dimensions", alibi_2d(noise({kHeads}, 6), 20)},
                                                           {"relative in two dimensions", relative_2d(noise({kHeads, 29, 39}, 7), 15, 20)}};
  for (const auto& [name, of] : rules) {
    const AttentionSpec ruled{.terms = {of}};
    const Tensor expected = attend(in.q, in.k, in.v, {.terms = {AttentionBias{written_out<float>(of, DType::kF32)}}}).out;
    expect_same(attend(in.q, in.k, in.v, ruled).out, expected, name);
    expect_same(attend(in.q, in.k, in.v, read_back(ruled)).out, expected, name + " from JSON");
  }
}

TEST(AttendByRule, PublishedVisibilityPatternsEqualADenseMask) {
  const Inputs in;
  std::vector<int32_t> global(kLength, 0);
  global[0] = global[150] = 1;
  const std::vector<std::pair<std::string, Rule>> rules = {
      {"dilated", dilated(3, 20)}, {"prefix", prefix_lm(40)}, {"prefixes", prefix_lm(Tensor::from<int32_t>({10, 260}, {kBatch}))},
      {"strided", strided(16)},    {"fixed", fixed(32, 3)},   {"longformer", longformer(12, Tensor::from(global, {kLength}))}};
  for (const auto& [name, of] : rules) {
    AttentionSpec ruled, masked;
    ruled.topology.visible = of;
    masked.topology.mask = Mask{written_out<bool>(of, DType::kBool)};
    const Tensor expected = attend(in.q, in.k, in.v, masked).out;
    expect_same(attend(in.q, in.k, in.v, ruled).out, expected, name);
    expect_same(attend(in.q, in.k, in.v, read_back(ruled)).out, expected, name + " from JSON");
  }
}

// Stretches that a rule hides are skipped many key tiles at a time.
TEST(AttendByRule, DistantVisiblePairsAreFoundAmongHiddenTiles) {
  constexpr int64_t kMany = 2900;
  const Tensor q = noise({1, 1, kMany, 8}, 1), k = noise({1, 1, kMany, 8}, 2), v = noise({1, 1, kMany, 8}, 3);
  std::vector<int32_t> marks(kMany, 0);
  marks[0] = marks[1700] = marks[2899] = 1;
  const RuleTable marked = table(Tensor::from(marks, {kMany}));
  using Sees = bool (*)(int64_t, int64_t);
  const std::vector<std::pair<Rule, Sees>> rules = {
      {visible([&](auto at) { return marked(at.key) != 0 || at.key == at.query; }),
       [](int64_t i, int64_t j) { return j == 0 || j == 1700 || j == 2899 || i == j; }},
      {visible([](auto at) { return abs(abs(at.query - at.key) - 1100) <= 3; }),
       [](int64_t i, int64_t j) { return std::abs(std::abs(i - j) - 1100) <= 3; }},
      {visible([](auto at) { return at.key >= 2600 && at.query < 100; }), [](int64_t i, int64_t j) { return j >= 2600 && i < 100; }}};
  for (const auto& [of, sees] : rules) {
    AttentionSpec ruled, masked;
    ruled.topology.visible = of;
    Tensor mask = Tensor::empty({1, 1, kMany, kMany}, DType::kBool);
    bool* to = mask.mutable_data<bool>();
    for (int64_t pair = 0; pair < kMany * kMany; ++pair) to[pair] = sees(pair / kMany, pair % kMany);
    masked.topology.mask = Mask{mask};
    expect_same(attend(q, k, v, ruled).out, attend(q, k, v, masked).out, to_json(ruled));
  }
}

// A rule that depends only on distances is evaluated once per distance. Heads may still differ, queries may be the last of the keys, and
// gradients and sweeps must give the same result.
TEST(AttendByRule, DistanceRulesEqualAMaskInForwardBackwardAndStatistics) {
  constexpr int64_t kQueries = 230, kKeys = 900;
  const Tensor q = noise({1, kHeads, kQueries, kWidth}, 1), k = noise({1, kHeads, kKeys, kWidth}, 2),
               v = noise({1, kHeads, kKeys, kWidth}, 3);
  const RuleTable stride = table(Tensor::from<float>({37, 131}, {kHeads}));
  AttentionSpec ruled, masked;
  ruled.topology.visible = visible([&](auto at) {
    const RuleValue apart = at.query - at.key, steps = apart / stride(at.head);
    return (apart >= -2 && apart <= 20) || floor(steps) == steps;
  });
  Tensor mask = Tensor::empty({1, kHeads, kQueries, kKeys}, DType::kBool);
  bool* to = mask.mutable_data<bool>();
  for (int64_t h = 0; h < kHeads; ++h) {
    for (int64_t i = 0; i < kQueries; ++i) {
      for (int64_t j = 0; j < kKeys; ++j) {
        const int64_t apart = kKeys - kQueries + i - j;
        *to++ = (apart >= -2 && apart <= 20) || apart % (h == 0 ? 37 : 131) == 0;
      }
    }
  }
  masked.topology.mask = Mask{mask};
  const Attended by_rule = attend(q, k, v, ruled), by_mask = attend(q, k, v, masked);
  expect_same(by_rule.out, by_mask.out, "out");
  const AttendGradients one = attend_gradients(by_rule.record, v, by_rule.out, q),
                        two = attend_gradients(by_mask.record, v, by_mask.out, q);
  expect_same(one.q, two.q, "d_q");
  expect_same(one.k, two.k, "d_k");
  expect_same(one.v, two.v, "d_v");
  ruled.normaliser = masked.normaliser = Sparsemax{};  // its row sums are swept
  expect_same(attend(q, k, v, ruled, {.distance = true}).distance, attend(q, k, v, masked, {.distance = true}).distance, "distance");
}

TEST(AttendByRule, TemperatureDividesTheScale) {
  const Inputs in;
  const Tensor expected = attend(in.q, in.k, in.v, {.score = Dot{0.5f}}).out;
  expect_same(attend(in.q, in.k, in.v, {.score = Dot{1}, .terms = {temperature(2.0f)}}).out, expected, "one temperature");
  const Tensor each = Tensor::from<float>({2, 2}, {kHeads});
  expect_same(attend(in.q, in.k, in.v, {.score = Dot{1}, .terms = {temperature(each)}}).out, expected, "a temperature per head");
}

TEST(AttendByRule, WritingARuleTableMakesTheRecordStale) {
  const Inputs in;
  Tensor slopes = noise({kHeads}, 9);
  const RuleTable of = table(slopes);
  const AttentionRecord record =
      attend(in.q, in.k, in.v, {.terms = {rule([&](auto s, auto at) { return s - of(at.head) * at.key; })}, .topology = causal()}).record;
  EXPECT_NO_THROW(record.check_fresh());
  slopes.mutable_data<float>()[0] = 3;
  expect_refused(ErrorCode::kStale, "operand \"rule.table\" was opened for writing", [&] { record.check_fresh(); });
}

}  // namespace
}  // namespace clearhead
