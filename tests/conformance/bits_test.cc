// One summation order: the score of a pair has the same bits in a prefill, in a decode step, over a tensor, over pages, with any strides,
// in every later query of the weights, and inside the forward itself. The weights of prefill and decode agree to 1e-6.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "backends/registry.h"
#include "base/parallel.h"
#include "cases.h"
#include "tolerance.h"

namespace clearhead::conformance {
namespace {

constexpr int64_t kBatch = 2, kHeads = 4, kKeyHeads = 2, kLength = 300;
const std::vector<int64_t> kSteps = {0, 1, 15, 16, 47, 48, 95, 254, 255, 256, 257, 299};

struct Text {
  std::string name{};
  AttentionSpec spec{};
  int64_t width = 64;
};

std::vector<Text> texts() {
  Random random(11);
  std::vector<Text> all = {
      {"plain", {.topology = causal()}, 64}, {"narrow", {.topology = causal()}, 33}, {"wide", {.topology = causal()}, 128}};
  AttentionSpec terms{
      .terms = {Alibi{normal(random, {kHeads}, 0.2f)}, SoftCap{4}, AttentionBias{normal(random, {1, kHeads, kLength, kLength})}},
      .topology = causal(70)};
  all.push_back({"alibi, soft-cap, bias, window", terms, 80});
  all.push_back({"soft-cap, scores near 0 and beyond", {.terms = {SoftCap{8}}, .topology = causal()}, 64});
  Additive additive{.weight = normal(random, {kHeads, 48}, 0.2f)};
  all.push_back({"additive, tanh", {.score = additive, .topology = causal()}, 48});
  additive.activation = Additive::Activation::kLeakyRelu;
  all.push_back(
      {"additive, leaky ReLU, alibi", {.score = additive, .terms = {Alibi{normal(random, {kHeads}, 0.1f)}}, .topology = causal()}, 48});
  Relative relative{.scale = 0.2f, .keys = normal(random, {1, 2 * 90 + 1, 40}), .queries = normal(random, {1, 2 * 90 + 1, 40})};
  all.push_back({"relative", {.score = relative, .topology = causal()}, 40});
  relative.query_bias = normal(random, {kHeads, 40});
  all.push_back(
      {"relative, query bias, alibi", {.score = relative, .terms = {Alibi{normal(random, {kHeads}, 0.1f)}}, .topology = causal()}, 40});
  const RuleTable slopes = table(normal(random, {kHeads}, 0.2f)), near = table(normal(random, {kHeads, 40}));
  const Rule line = rule([&](auto s, auto at) { return s - slopes(at.head) * abs(at.query - at.key); });
  const Rule pair = rule([&](auto s, auto at) {
    return 3 * tanh(s / 3) + near(at.head, floor(at.query / 5) - floor(at.key / 7) + 20) * exp(-0.01 * at.key) +
           log(1 + abs(s)) * sqrt(1 + at.query);
  });
  all.push_back({"rules", {.terms = {line, pair}, .topology = causal()}, 64});
  AttentionSpec ruled{.topology = causal()};
  ruled.topology.visible = visible([](auto at) { return at.query - at.key < 90 || at.key - 7 * floor(at.key / 7) == 2; });
  all.push_back({"visibility rule", ruled, 64});
  AttentionSpec hidden{.score = Dot{0.2f}, .topology = causal(), .normaliser = Softmax{normal(random, {kHeads})}};
  Tensor visible = Tensor::zeros({kBatch, 1, 1, kLength}, DType::kBool), ids = Tensor::zeros({1, kLength}, DType::kI32);
  for (int64_t j = 0; j < kBatch * kLength; ++j) visible.mutable_data<bool>()[j] = j % 5 != 2;
  for (int64_t j = 0; j < kLength; ++j) ids.mutable_data<int32_t>()[j] = static_cast<int32_t>(j / 130);
  hidden.topology.mask = Mask{visible};
  hidden.topology.segments = Segments{ids, ids};
  all.push_back({"mask, segments, sinks", hidden, 16});
  return all;
}

class Bits : public testing::TestWithParam<const Backend*> {
 protected:
  const Backend& backend_ = *GetParam();

  // The inputs for a text, with the keys both as a tensor and as pages.
  struct Inputs {
    Tensor q, k, v;
    PagedKV pages;
  };
  static Inputs inputs(int64_t width) {
    Random random(static_cast<uint32_t>(width));
    Inputs in;
    in.q = normal(random, {kBatch, kHeads, kLength, width}, 2);
    in.k = normal(random, {kBatch, kKeyHeads, kLength, width});
    in.v = normal(random, {kBatch, kKeyHeads, kLength, 24});
    in.pages = paged(in.k, in.v);
    return in;
  }

  // One decode step: the query at position `step`, after `step` earlier keys.
  AttentionRecord decode(const Text& text, const Inputs& in, int64_t batch, int64_t step, bool pages) const {
    const auto until = [&](const Tensor& t) { return t.slice(0, batch, batch + 1).slice(2, 0, step + 1); };
    const AttentionSpec spec = restricted(text.spec, batch, {0, kHeads}, {step, step + 1}, step + 1);
    const Tensor q = in.q.slice(0, batch, batch + 1).slice(2, step, step + 1);
    if (pages) return run(backend_, spec, q, paged(until(in.k), until(in.v)), Tensor()).record;
    return run(backend_, spec, q, until(in.k), until(in.v)).record;
  }
};

TEST_P(Bits, ScoresOfADecodeStepEqualThePrefillRowBitForBit) {
  for (const Text& text : texts()) {
    const Inputs in = inputs(text.width);
    const AttentionRecord prefill = run(backend_, text.spec, in.q, in.k, in.v).record;
    const AttentionRecord prefill_pages = run(backend_, text.spec, in.q, in.pages, Tensor()).record;
    for (const int64_t step : kSteps) {
      const int64_t batch = step % kBatch, head = step % kHeads;
      const auto scores = [&](const AttentionRecord& record, int64_t b, int64_t row) {
        return look(backend_, record, b, head, {row}, {0, step + 1}, WeightsCall::Quantity::kScore2);
      };
      const auto expected = scores(prefill, batch, step);
      EXPECT_TRUE(same_bits(scores(prefill_pages, batch, step), expected)) << text.name << ": prefill over pages, row " << step;
      EXPECT_TRUE(same_bits(scores(decode(text, in, batch, step, false), 0, 0), expected)) << text.name << ": decode, step " << step;
      EXPECT_TRUE(same_bits(scores(decode(text, in, batch, step, true), 0, 0), expected))
          << text.name << ": decode over pages, step " << step;
    }
  }
}

TEST_P(Bits, WeightsOfADecodeStepAgreeWithThePrefillRow) {
  for (const Text& text : texts()) {
    const Inputs in = inputs(text.width);
    const AttentionRecord prefill = run(backend_, text.spec, in.q, in.k, in.v).record;
    for (const int64_t step : kSteps) {
      const int64_t batch = step % kBatch, head = step % kHeads;
      const auto expected = look(backend_, prefill, batch, head, {step}, {0, step + 1});
      for (const bool pages : {false, true}) {
        const auto found = look(backend_, decode(text, in, batch, step, pages), 0, head, {0}, {0, step + 1});
        for (size_t j = 0; j < found.size(); ++j) {
          const double p = static_cast<double>(expected[j]);
          ASSERT_NEAR(static_cast<double>(found[j]), p, p * tolerance::kDecodeWeight + tolerance::kUnderflow)
              << text.name << " step " << step << " key " << j;
        }
      }
    }
  }
}

TEST_P(Bits, StridesChangeNoBits) {
  for (const Text& text : texts()) {
    const Inputs in = inputs(text.width);
    const auto length_first = [](const Tensor& t) { return t.permute({0, 2, 1, 3}).clone().permute({0, 2, 1, 3}); };
    const auto channels_apart = [](const Tensor& t) { return t.permute({0, 1, 3, 2}).clone().permute({0, 1, 3, 2}); };
    const Result plain = run(backend_, text.spec, in.q, in.k, in.v);
    const Result permuted = run(backend_, text.spec, length_first(in.q), length_first(in.k), length_first(in.v));
    const Result apart = run(backend_, text.spec, channels_apart(in.q), channels_apart(in.k), channels_apart(in.v));
    const Result pages = run(backend_, text.spec, in.q, in.pages, Tensor());
    for (const Result* other : {&permuted, &apart, &pages}) {
      EXPECT_TRUE(same_bits(other->out, plain.out)) << text.name;
      EXPECT_TRUE(same_bits(other->record.rows.m, plain.record.rows.m)) << text.name;
      EXPECT_TRUE(same_bits(other->record.rows.l, plain.record.rows.l)) << text.name;
    }
  }
}

// Covers everything that reads pages: the drivers for many rows, for few rows, for other normalisers and for lists; weights and sweeps.
TEST_P(Bits, PagesOf16BitsAreF32KeysOfTheRoundedValuesBitForBit) {
  std::vector<Text> all = texts();
  all.push_back({"sparsemax", {.topology = causal(), .normaliser = Sparsemax{}}, 40});
  all.push_back({"hard", {.topology = causal(), .normaliser = Hard{}}, 33});
  all.push_back({"sigmoid", {.topology = causal(70), .normaliser = Sigmoid{}}, 64});
  AttentionSpec edges{.topology = causal()};
  edges.topology.block_sparse = big_bird(kLength, {.block = 1, .window = 40, .global = 3, .random = 5});
  all.push_back({"lists", edges, 24});
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    for (const Text& text : all) {
      for (const int64_t value_width : {24, 64}) {
        Inputs in = inputs(text.width);
        Random random(5);
        in.v = normal(random, {kBatch, kKeyHeads, kLength, value_width});
        const Tensor k = to_f32(to_dtype(in.k, dtype)), v = to_f32(to_dtype(in.v, dtype));
        const std::string name = text.name + ", " + to_string(dtype) + ", d_v " + std::to_string(value_width);
        const auto expect_same = [&](const Result& narrow, const Result& wide) {
          EXPECT_EQ(key_dtype(narrow.record.keys), dtype);
          EXPECT_TRUE(same_bits(narrow.out, wide.out)) << name;
          EXPECT_TRUE(same_bits(narrow.record.rows.m, wide.record.rows.m) && same_bits(narrow.record.rows.l, wide.record.rows.l)) << name;
        };
        const Result narrow = run(backend_, text.spec, in.q, paged(in.k, in.v, dtype), Tensor());
        const Result wide = run(backend_, text.spec, in.q, k, v);
        expect_same(narrow, wide);
        const std::vector<int64_t> rows = {0, 17, 255, 256, 299};
        EXPECT_TRUE(
            same_bits(look(backend_, narrow.record, 1, 2, rows, {3, kLength}), look(backend_, wide.record, 1, 2, rows, {3, kLength})))
            << name;
        const ReductionRequest request{.statistics = {entropy, received, distance}};
        EXPECT_TRUE(
            same_bits(backend_.sweep({narrow.record, request, rows}).received, backend_.sweep({wide.record, request, rows}).received))
            << name;
        if (text.spec.topology.block_sparse) continue;
        for (const int64_t few : {3, 11}) {  // number of queries: one row set per page, or several
          const AttentionSpec step = restricted(text.spec, 0, {0, kHeads}, {kLength - few, kLength}, kLength);
          const Tensor q = in.q.slice(0, 0, 1).slice(2, kLength - few, kLength);
          const auto first = [](const Tensor& t) { return t.slice(0, 0, 1); };
          expect_same(run(backend_, step, q, paged(first(in.k), first(in.v), dtype), Tensor()), run(backend_, step, q, first(k), first(v)));
        }
      }
    }
  }
}

// A bf16 prompt over its own pages, whole or as a chunk of a longer prompt, uses the same kernels as over a tensor.
TEST_P(Bits, ManyQueriesOverPagesOfBf16AreThoseOverATensor) {
  const auto narrow = [](const Tensor& t) { return to_dtype(t, DType::kBF16); };
  const auto expect_same = [&](const std::string& name, const AttentionSpec& spec, const Tensor& q, const Tensor& k, const Tensor& v) {
    const Result over_pages = run(backend_, spec, q, paged(k, v, DType::kBF16), Tensor()), over_rows = run(backend_, spec, q, k, v);
    EXPECT_TRUE(same_bits(to_f32(over_pages.out), to_f32(over_rows.out))) << name;
    EXPECT_TRUE(same_bits(over_pages.record.rows.m, over_rows.record.rows.m)) << name;
    EXPECT_TRUE(same_bits(over_pages.record.rows.l, over_rows.record.rows.l)) << name;
    ASSERT_EQ(over_pages.record.rows.used.defined(), over_rows.record.rows.used.defined()) << name;
    const bool rounds = over_rows.record.rows.used.defined();
    EXPECT_TRUE(!rounds || same_bits(over_pages.record.rows.used, over_rows.record.rows.used)) << name;
  };
  for (const Text& text : texts()) {
    const Inputs in = inputs(text.width);
    expect_same(text.name, text.spec, narrow(in.q), narrow(in.k), narrow(in.v));
  }
  Random random(3);
  const int64_t keys = 900, queries = 70;
  const Tensor q = narrow(normal(random, {1, kHeads, queries, 64}, 2)), k = narrow(normal(random, {1, kKeyHeads, keys, 64})),
               v = narrow(normal(random, {1, kKeyHeads, keys, 32}));
  expect_same("the end of a long text", {.topology = causal()}, q, k, v);
  expect_same("the end, in a window", {.terms = {Alibi{normal(random, {kHeads}, 0.1f)}, SoftCap{9}}, .topology = causal(100)}, q, k, v);
  const Rule far = rule([](auto s, auto at) { return s - 0.0001 * at.key * at.query; });
  expect_same("the end, in a window, under a rule", {.terms = {far}, .topology = causal(100)}, q, k, v);
}

// In a row that sees only one key, m + log₂ℓ is that key's score as the forward itself computed it. 2^x is accurate to 2e-7 and one ulp of
// a score beyond 64 changes it by 5e-6, so a distance of less than a third of an ulp means equal bits. (The reference computes in double
// internally, so it may be half an ulp away.)
TEST_P(Bits, RecomputedScoresEqualTheForwardsOwnScores) {
  Inputs in = inputs(64);
  for (int64_t i = 0; i < in.q.numel(); ++i) in.q.mutable_data<float>()[i] *= 40;
  Tensor visible = Tensor::zeros({1, 1, kLength, kLength}, DType::kBool);
  bool* one_each = visible.mutable_data<bool>();
  const auto seen_by = [](int64_t row) { return row * 7 % (row + 1); };
  for (int64_t row = 0; row < kLength; ++row) one_each[row * kLength + seen_by(row)] = true;
  AttentionSpec one{.topology = causal()};
  one.topology.mask = Mask{visible};
  const AttentionRecord all = run(backend_, {.topology = causal()}, in.q, in.k, in.v).record;
  const AttentionRecord tensor = run(backend_, one, in.q, in.k, in.v).record, pages = run(backend_, one, in.q, in.pages, Tensor()).record;
  const double allowed = backend_.isa == InstructionSet::kReference ? 0.51 : 0.33;
  int compared = 0;
  for (int64_t row = 0; row < kLength; ++row) {
    const float score = look(backend_, all, 1, 3, {row}, {seen_by(row), seen_by(row) + 1}, WeightsCall::Quantity::kScore2)[0];
    if (std::abs(score) < 64) continue;
    ++compared;
    const double ulp = std::ldexp(1.0, std::ilogb(score) - 23);
    const auto ulps_away = [&](const AttentionRecord& record, int64_t batch, int64_t r) {
      const int64_t at = (batch * kHeads + 3) * record.rows.m.size(2) + r;
      const double m = static_cast<double>(record.rows.m.data<float>()[at]), l = static_cast<double>(record.rows.l.data<float>()[at]);
      return std::abs(m - static_cast<double>(score) + std::log2(l)) / ulp;
    };
    ASSERT_LT(ulps_away(tensor, 1, row), allowed) << "row " << row;
    ASSERT_LT(ulps_away(pages, 1, row), allowed) << "row " << row << " over pages";
    if (row % 7 != 0) continue;
    ASSERT_LT(ulps_away(decode({"one key", one, 64}, in, 1, row, row % 2 == 0), 0, 0), allowed) << "decode step " << row;
  }
  ASSERT_GT(compared, kLength / 3);
}

// On one thread, blocks of rows share each key tile; where there is little work to distribute, each block runs separately.
TEST_P(Bits, APrefillDoesNotDependOnThreads) {
  for (const Text& text : texts()) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      Inputs in = inputs(text.width);
      in.v.mutable_data<float>()[200 * 24] = std::numeric_limits<float>::infinity();  // rows that see it are recomputed
      const Tensor q = to_dtype(in.q, dtype), k = to_dtype(in.k, dtype), v = to_dtype(in.v, dtype);
      set_threads(1);
      const Result together = run(backend_, text.spec, q, k, v);
      set_threads(64);
      const Result apart = run(backend_, text.spec, q, k, v);
      set_threads(2);
      EXPECT_TRUE(same_bits(together.out, apart.out)) << text.name << ", " << to_string(dtype);
      EXPECT_TRUE(same_bits(together.record.rows.m, apart.record.rows.m)) << text.name;
      EXPECT_TRUE(same_bits(together.record.rows.l, apart.record.rows.l)) << text.name;
    }
    if (backend_.isa == InstructionSet::kReference) break;  // the reference has no blocks, and is slow
  }
}

TEST_P(Bits, ADecodeStepDoesNotDependOnThreadsBatchOrHeads) {
  Random random(3);
  constexpr int64_t kKeys = 5000;
  const Tensor q = normal(random, {3, 6, 1, 64}), k = normal(random, {3, 2, kKeys, 64}), v = normal(random, {3, 2, kKeys, 64});
  const PagedKV pages = paged(k, v);
  set_threads(1);
  const Result one = run(backend_, {.topology = causal()}, q, pages, Tensor());
  for (const int count : {2, 3, 4}) {
    set_threads(count);
    const Result many = run(backend_, {.topology = causal()}, q, pages, Tensor());
    EXPECT_TRUE(same_bits(many.out, one.out) && same_bits(many.record.rows.l, one.record.rows.l)) << count << " threads";
  }
  set_threads(2);
  const auto last = [](const Tensor& t, int64_t heads) { return t.slice(0, 2, 3).slice(1, t.size(1) - heads, t.size(1)); };
  const Result alone = run(backend_, {.topology = causal()}, last(q, 3), paged(last(k, 1), last(v, 1)), Tensor());
  EXPECT_TRUE(same_bits(alone.out, last(one.out, 3)));
  EXPECT_TRUE(same_bits(alone.record.rows.l, last(one.record.rows.l, 3)));
}

INSTANTIATE_TEST_SUITE_P(Backends, Bits, testing::ValuesIn(runnable_backends()),
                         [](const auto& table) { return table_name(*table.param); });

}  // namespace
}  // namespace clearhead::conformance
