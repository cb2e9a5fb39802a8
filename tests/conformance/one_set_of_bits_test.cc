// The bits do not depend on the number of threads, the batch or the number of heads, for every
// description: forward, map, sums over the map, and gradients of q, k, v and every operand.
// Lengths cover several strips of rows and chunks of keys, so that threads could change an order.
//
// The descriptions that a covering draws once (conformance_test.cc) are listed by name here, with their gradients: lists, rules with
// tables, normalisers, and the steps after normalisation.
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "backends/registry.h"
#include "base/parallel.h"
#include "compare.h"
#include "make_case.h"

namespace clearhead::conformance {
namespace {

using Choices = std::vector<std::pair<Factor, std::string>>;

const std::vector<Choices>& descriptions() {
  static const std::vector<Choices> all = {
      {{kPair, "additive leaky_relu h"}, {kLists, "edges with bias"}},  // GATv2
      {{kPair, "additive leaky_relu h"}, {kLists, "edges bh with bias"}},
      {{kLists, "edges with bias"}, {kNormaliser, "sinks"}},
      {{kLists, "edges h"}, {kTerms, "rule pair"}},
      {{kLists, "blocks 16x24 h with bias"}},
      {{kLists, "blocks 50x8 with bias"}},
      {{kLists, "blocks 64x64 b"}, {kBand, "causal start"}},
      {{kLists, "blocks 1x16"}, {kNormaliser, "entmax15"}},
      {{kTerms, "rule line"}},
      {{kTerms, "rule pair"}},
      {{kTerms, "rule t5"}},
      {{kTerms, "rule temperature+alibi"}, {kBand, "causal start"}},
      {{kNormaliser, "sparsemax"}},
      {{kNormaliser, "entmax15"}},
      {{kNormaliser, "sigmoid"}, {kTerms, "alibi"}},
      {{kNormaliser, "hard"}},
      {{kNormaliser, "hard, scored"}},
      {{kNormaliser, "hard, drawn"}},
      {{kNormaliser, "hard, drawn, through"}},
      {{kAfter, "dropout"}},
      {{kAfter, "head mask"}},
      {{kAfter, "gaussian"}},
      {{kAfter, "dropout, head mask, gaussian"}, {kTerms, "soft_cap"}},
      {{kPair, "relative reach 40 h values"}},
      {{kPair, "relative reach 300 all"}, {kBand, "causal start"}},
      {{kPair, "additive tanh h"}},
      {{kPair, "additive leaky_relu"}},
      {{kTerms, "dense 11qk"}},
      {{kTerms, "dense 1h1k+dense b1qk"}},
      {{kNormaliser, "linear"}},
      {{kNormaliser, "linear"}, {kBand, "causal start"}},
      {{kNormaliser, "linear"}, {kBand, "window 60 20 start"}, {kTerms, "dense 11qk"}},
  };
  return all;
}

struct Kind {
  const Backend* backend;
  DType dtype;
};

// Includes bf16 on backends that have bf16 kernels.
std::vector<Kind> kinds() {
  std::vector<Kind> all;
  for (const Backend* backend : runnable_backends()) {
    all.push_back({backend, DType::kF32});
    if (backend->isa == InstructionSet::kAvx512) all.push_back({backend, DType::kBF16});
  }
  return all;
}

// Every result of a call: forward, gradients, weights and sweeps.
struct Everything {
  Result forward{};
  AttendGradients gradients{};
  std::vector<std::vector<float>> looks{};  // for each head of each sequence: weights, weights after, scores
  std::vector<ReductionResult> sweeps{};
};

class OneSetOfBits : public testing::TestWithParam<Kind> {
 protected:
  const Backend& backend_ = *GetParam().backend;
  void TearDown() override { set_threads(2); }

  // 700 rows are two strips: a strip is 576 rows in f32 and 624 in bf16 by matrices. The reference processes one row at a time.
  Case case_of(const Choices& description, const std::string& heads, const std::string& lengths) const {
    const bool is_reference = backend_.isa == InstructionSet::kReference;
    Values values = plain_but(description);
    values[kHeads] = heads;
    values[kLengths] = is_reference ? "20x30" : lengths;
    values[kWidths] = is_narrow() ? "d 128/128" : "d 16/32";
    if (is_narrow()) values[kDType] = "bf16";
    return make_case(values, 17);
  }
  bool is_narrow() const { return GetParam().dtype == DType::kBF16; }
  // Other bf16 calls run the f32 kernels on widened operands.
  bool has_kernels_for(const Case& c) const {
    return !is_narrow() || keeps_weights_in_bf16(backend_, c) || keeps_gradients_in_bf16(backend_, c);
  }

  Everything everything(const Case& c) const {
    Everything all{.forward = run(backend_, c)};
    all.gradients = run_backward(backend_, all.forward, c.v, upstream_of(c, 5));
    std::vector<int64_t> rows(static_cast<size_t>(c.shape.queries));
    std::iota(rows.begin(), rows.end(), 0);
    std::vector<int64_t> some;
    for (int64_t i = 0; i < c.shape.queries; i += 1 + c.shape.queries / 40) some.push_back(i);
    const ReductionRequest request{.statistics = {entropy, received, distance}};
    for (int64_t map = 0; map < c.shape.batch * c.shape.heads; ++map) {
      const int64_t batch = map / c.shape.heads, head = map % c.shape.heads;
      const AttentionRecord& record = all.forward.record;
      const Range keys{0, c.shape.keys};
      all.looks.push_back(look(backend_, record, batch, head, some, keys));
      all.looks.push_back(look(backend_, record, batch, head, some, keys, WeightsCall::Quantity::kWeight, /*after=*/true));
      all.looks.push_back(look(backend_, record, batch, head, some, keys, WeightsCall::Quantity::kScore2));
    }
    all.sweeps.push_back(backend_.sweep({.record = all.forward.record, .request = request, .rows = rows}));
    return all;
  }
};

void expect_same_forward(const Result& found, const Result& expected) {
  EXPECT_TRUE(same_bits(found.out, expected.out)) << "out";
  EXPECT_TRUE(same_bits(found.record.rows.m, expected.record.rows.m)) << "m";
  EXPECT_TRUE(same_bits(found.record.rows.l, expected.record.rows.l)) << "l";
}

void expect_same(const Case& c, const Everything& found, const Everything& expected) {
  expect_same_forward(found.forward, expected.forward);
  for (size_t i = 0; i < expected.looks.size(); ++i) EXPECT_TRUE(same_bits(found.looks[i], expected.looks[i])) << "look " << i;
  for (size_t i = 0; i < expected.sweeps.size(); ++i) {
    EXPECT_TRUE(same_bits(found.sweeps[i].entropy, expected.sweeps[i].entropy)) << "entropy";
    EXPECT_TRUE(same_bits(found.sweeps[i].received, expected.sweeps[i].received)) << "received";
    EXPECT_TRUE(same_bits(found.sweeps[i].distance, expected.sweeps[i].distance)) << "distance";
  }
  EXPECT_TRUE(same_bits(found.gradients.q, expected.gradients.q)) << "d_q";
  EXPECT_TRUE(same_bits(found.gradients.k, expected.gradients.k)) << "d_k";
  EXPECT_TRUE(same_bits(found.gradients.v, expected.gradients.v)) << "d_v";
  size_t next = 0;
  for_each_operand(c.spec, [&](const std::string& name, const Tensor&) {
    const Tensor &a = found.gradients.operands[next], &b = expected.gradients.operands[next];
    EXPECT_TRUE(!b.defined() || same_bits(a, b)) << "d_" << name;
    ++next;
  });
}

TEST_P(OneSetOfBits, ForAnyNumberOfThreadsInEveryDirection) {
  int64_t compared = 0;
  for (const Choices& description : descriptions()) {
    const Case c = case_of(description, "heads 2/1", "700x300");
    if (!has_kernels_for(c)) continue;
    SCOPED_TRACE(c.name);
    set_threads(1);
    const Everything one = everything(c);
    for (const int count : {2, 3, 5}) {
      SCOPED_TRACE(std::to_string(count) + " threads");
      set_threads(count);
      expect_same(c, everything(c), one);
      ++compared;
    }
  }
  EXPECT_GT(compared, 0) << "no description has kernels";
}

// Random draws depend on the index of the sequence and of the head.
bool draws(const AttentionSpec& spec) {
  const Hard* hard = std::get_if<Hard>(&spec.normaliser);
  return spec.after.dropout || (hard && hard->choice == Hard::Choice::kSampled);
}

TEST_P(OneSetOfBits, ForEveryHeadAloneAndInABatch) {
  int64_t compared = 0;
  for (const Choices& description : descriptions()) {
    const Case c = case_of(description, "heads 4/4", "100x300");
    const bool by_bucket = c.name.find("rule t5") != std::string::npos;  // its table's first axis is the bucket, not the head
    if (draws(c.spec) || by_bucket || !has_kernels_for(c)) continue;
    SCOPED_TRACE(c.name);
    const Tensor d_out = upstream_of(c, 5);
    const Result whole = run(backend_, c);
    const AttendGradients gradients = run_backward(backend_, whole, c.v, d_out);
    for (int64_t map = 0; map < c.shape.batch * c.shape.heads; ++map) {
      const int64_t batch = map / c.shape.heads, head = map % c.shape.heads;
      SCOPED_TRACE("batch " + std::to_string(batch) + " head " + std::to_string(head));
      const auto part = [&](const Tensor& t) { return t.slice(0, batch, batch + 1).slice(1, head, head + 1); };
      const AttentionSpec spec = restricted(c.spec, batch, {head, head + 1}, {0, c.shape.queries}, c.shape.keys);
      const Result alone = run(backend_, spec, part(c.q), part(c.k), part(c.v));
      EXPECT_TRUE(same_bits(alone.out, part(whole.out))) << "out";
      EXPECT_TRUE(same_bits(alone.record.rows.m, part(whole.record.rows.m))) << "m";
      EXPECT_TRUE(same_bits(alone.record.rows.l, part(whole.record.rows.l))) << "l";
      const AttendGradients found = run_backward(backend_, alone, part(c.v), part(d_out));
      EXPECT_TRUE(same_bits(found.q, part(gradients.q))) << "d_q";
      EXPECT_TRUE(same_bits(found.k, part(gradients.k))) << "d_k";
      EXPECT_TRUE(same_bits(found.v, part(gradients.v))) << "d_v";
      ++compared;
    }
  }
  EXPECT_GT(compared, 0) << "no description has kernels";
}

INSTANTIATE_TEST_SUITE_P(Backends, OneSetOfBits, testing::ValuesIn(kinds()),
                         [](const auto& of) { return table_name(*of.param.backend) + "_" + to_string(of.param.dtype); });

}  // namespace
}  // namespace clearhead::conformance
