// The effect of an intervention on one layer: an ablated head outputs zeros and keeps its weights; the weights of pairs that are knocked
// out go to the rest of the row.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <functional>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "backends/registry.h"
#include "base/random.h"
#include "clearhead/attend.h"
#include "clearhead/error.h"
#include "clearhead/map.h"
#include "clearhead/observer.h"
#include "on_every_backend.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

constexpr int64_t kHeads = 3, kLength = 70, kWidth = 16;

Tensor random_tensor(uint64_t seed) {
  Tensor tensor = Tensor::empty({1, kHeads, kLength, kWidth});
  float* values = tensor.mutable_data<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) values[i] = static_cast<float>(4 * random_unit(seed, static_cast<uint64_t>(i)) - 2);
  return tensor;
}

struct Seen {
  Tensor out{};
  std::vector<float> weights{};  // [head, query, key]
};

Seen seen_under(const Interventions& interventions, int layer = 2) {
  const Tensor q = random_tensor(1), k = random_tensor(2), v = random_tensor(3);
  const Attended done = attend(q, k, v, with_interventions({.topology = causal()}, interventions, {layer, kHeads}));
  Seen seen{.out = done.out, .weights = std::vector<float>(static_cast<size_t>(kHeads * kLength * kLength))};
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < kLength; ++i) rows.push_back(i);
  for (int64_t head = 0; head < kHeads; ++head) {
    backend().weights({.record = done.record,
                       .head = head,
                       .rows = rows.data(),
                       .row_count = kLength,
                       .keys = {0, kLength},
                       .out = seen.weights.data() + head * kLength * kLength,
                       .out_stride = kLength});
  }
  return seen;
}

float weight(const Seen& seen, int64_t head, int64_t query, int64_t key) {
  return seen.weights[static_cast<size_t>((head * kLength + query) * kLength + key)];
}

TEST(Interventions, AKnockedOutHeadGivesZerosAndKeepsItsWeights) {
  const Seen whole = seen_under({}), edited = seen_under({.ablated = {{2, 1}, {0, 2}}});
  EXPECT_EQ(whole.weights, edited.weights);
  for (int64_t i = 0; i < whole.out.numel(); ++i) {
    const bool knocked = i / (kLength * kWidth) == 1;  // L0.H2 belongs to another layer
    EXPECT_EQ(edited.out.data<float>()[i], knocked ? 0 : whole.out.data<float>()[i]);
  }
}

TEST(Interventions, KnockoutsRenormaliseTheRestOfTheRow) {
  const Seen whole = seen_under({});
  const Seen cut =
      seen_under({.knockouts = {{.queries = {40, 60}, .keys = {10, 20}, .head = 1}, {.queries = {65, 66}, .keys = {0, 5}, .layer = 2}}});
  for (int64_t head = 0; head < kHeads; ++head) {
    for (int64_t i = 0; i < kLength; ++i) {
      const auto hidden = [&](int64_t key) { return (head == 1 && i >= 40 && i < 60 && key >= 10 && key < 20) || (i == 65 && key < 5); };
      double left = 0;
      for (int64_t j = 0; j <= i; ++j) left += hidden(j) ? 0 : static_cast<double>(weight(whole, head, i, j));
      for (int64_t j = 0; j <= i; ++j) {
        const double expected = hidden(j) ? 0 : static_cast<double>(weight(whole, head, i, j)) / left;
        ASSERT_NEAR(static_cast<double>(weight(cut, head, i, j)), expected, 2 * tolerance::kWeightF32 * expected)
            << head << " " << i << " " << j;
      }
    }
  }
  EXPECT_EQ(seen_under({.knockouts = {{.queries = {65, 66}, .keys = {0, 5}, .layer = 2}}}, 1).weights, whole.weights);
}

TEST(Interventions, KeepOnlyHidesEverythingElse) {
  const Seen kept = seen_under({.keep_only = {{.queries = {30, 32}, .keys = {3, 4}}}});
  for (int64_t head = 0; head < kHeads; ++head) {
    EXPECT_EQ(weight(kept, head, 30, 3), 1);
    EXPECT_EQ(weight(kept, head, 31, 30), 0);
    EXPECT_GT(weight(kept, head, 32, 30), 0);
  }
}

// Queries of two sequences, one sequence after the other, at positions 4 to 6, over the keys of another sequence.
TEST(Interventions, CrossAttentionQueriesArePositionsWithinEachSequence) {
  const int64_t queries = 6;
  const Tensor q = random_tensor(1).slice(2, 0, queries), k = random_tensor(2), v = random_tensor(3);
  const InterventionSite site{.layer = 0, .heads = kHeads, .family = "cross", .cross_queries = Range{4, 7}};
  const Interventions interventions{
      .ablated = {{0, 0, "dec"}},
      .knockouts = {{.queries = {5, 6}, .keys = {0, 3}, .family = "cross"}, {.queries = {0, 9}, .keys = {3, 4}, .family = "enc"}}};
  const Attended done = attend(q, k, v, with_interventions({}, interventions, site));
  for (int64_t row = 0; row < queries; ++row) {
    std::vector<float> weights(static_cast<size_t>(kLength));
    backend().weights(
        {.record = done.record, .rows = &row, .row_count = 1, .keys = {0, kLength}, .out = weights.data(), .out_stride = kLength});
    for (int64_t key = 0; key < kLength; ++key)
      EXPECT_EQ(weights[static_cast<size_t>(key)] == 0, row % 3 == 1 && key < 3) << "row " << row << " key " << key;
  }
  EXPECT_NE(done.out.data<float>()[0], 0);
}

// The weights of all heads, [head, query, key].
std::vector<float> all_weights(const AttentionRecord& record) {
  const int64_t queries = record.query_length, keys = key_length(record.keys);
  std::vector<int64_t> rows(static_cast<size_t>(queries));
  std::iota(rows.begin(), rows.end(), 0);
  std::vector<float> out(static_cast<size_t>(kHeads * queries * keys));
  for (int64_t head = 0; head < kHeads; ++head) {
    backend().weights({.record = record,
                       .head = head,
                       .rows = rows.data(),
                       .row_count = queries,
                       .keys = {0, keys},
                       .out = out.data() + head * queries * keys,
                       .out_stride = keys});
  }
  return out;
}

using Hidden = std::function<bool(int64_t head, int64_t query, int64_t key)>;

// Softmax over the remaining keys equals the whole softmax renormalised over them, so this expects that nothing except visibility changed.
void expect_only_hidden(const AttentionRecord& edited, const AttentionRecord& whole, const Hidden& hidden) {
  const std::vector<float> found = all_weights(edited), before = all_weights(whole);
  const int64_t keys = key_length(whole.keys);
  for (int64_t row = 0; row < kHeads * whole.query_length; ++row) {
    const int64_t head = row / whole.query_length, query = row % whole.query_length;
    const auto weight_of = [&](const std::vector<float>& of, int64_t key) {
      return static_cast<double>(of[static_cast<size_t>(row * keys + key)]);
    };
    double left = 0;
    for (int64_t key = 0; key < keys; ++key) left += hidden(head, query, key) ? 0 : weight_of(before, key);
    for (int64_t key = 0; key < keys; ++key) {
      const double expected = hidden(head, query, key) || left == 0 ? 0 : weight_of(before, key) / left;
      ASSERT_NEAR(weight_of(found, key), expected, tolerance::kEdited * expected)
          << "head " << head << " query " << query << " key " << key;
    }
  }
}

// The intervention's rule is appended to a visibility rule that has its own tables and constants, and a term with tables is also present.
TEST(Interventions, CombineWithTheVisibilityRuleOfADescription) {
  const Tensor q = random_tensor(1), k = random_tensor(2), v = random_tensor(3);
  const RuleTable reach = table(Tensor::from(std::vector<float>{9, 30, 50}, {kHeads})),
                  is_global = table(Tensor::from(std::vector<int32_t>{1, 0, 0, 0, 1, 0, 0}, {7}));
  AttentionSpec spec{.terms = {t5_bias(random_tensor(4).select(0, 0).select(0, 0).slice(0, 0, 8).slice(1, 0, kHeads).clone(), true)}};
  spec.topology.visible = visible([&](auto at) { return abs(at.query - at.key) <= reach(at.head) || is_global(at.key) != 0; });
  const Interventions interventions{.knockouts = {{.queries = {20, 60}, .keys = {0, 40}, .head = 1}, {.queries = {5, 6}, .keys = {0, 3}}},
                                    .keep_only = {{.queries = {64, 70}, .keys = {30, 70}, .head = 2}}};
  const Hidden hidden = [](int64_t head, int64_t query, int64_t key) {
    return (head == 1 && query >= 20 && query < 60 && key < 40) || (query == 5 && key < 3) || (head == 2 && query >= 64 && key < 30);
  };
  on_every_backend([&] {
    const AttentionSpec under = with_interventions(spec, interventions, {0, kHeads});
    ASSERT_EQ(under.topology.visible->tables.size(), 2U);
    expect_only_hidden(attend(q, k, v, under).record, attend(q, k, v, spec).record, hidden);
  });
}

// At any length: no operand grows with the length, the intervention adds no time, and rows follow the formula.
TEST(Interventions, KnockoutsOfTwentyThousandTokensMatchTheFormulaWithoutSlowdown) {
  constexpr int64_t kLong = 20'000, kNarrow = 8;
  const auto drawn = [](int64_t length, uint64_t seed) {
    Tensor tensor = Tensor::empty({1, 1, length, kNarrow});
    for (int64_t i = 0; i < tensor.numel(); ++i)
      tensor.mutable_data<float>()[i] = static_cast<float>(4 * random_unit(seed, static_cast<uint64_t>(i)) - 2);
    return tensor;
  };
  const Tensor all_queries = drawn(kLong, 1), k = drawn(kLong, 2), v = drawn(kLong, 3);
  const Interventions interventions{
      .knockouts = {{.queries = {7'000, 19'990}, .keys = {100, 6'500}}, {.queries = {19'995, 19'996}, .keys = {0, 19'995}}},
      .keep_only = {{.queries = {19'997, 19'998}, .keys = {300, 302}}}};
  const auto shows = [](int64_t query, int64_t key) {
    if (key > query || (query >= 7'000 && query < 19'990 && key >= 100 && key < 6'500)) return false;
    return query == 19'995 ? key >= 19'995 : query != 19'997 || (key >= 300 && key < 302);
  };
  const AttentionSpec spec{.topology = causal()}, under = with_interventions(spec, interventions, {0, 1});
  for_each_operand(under, [](const std::string& name, const Tensor&) { ADD_FAILURE() << "unexpected operand: " << name; });
  on_every_backend([&] {
    const bool is_reference = backend().isa == InstructionSet::kReference;
    const int64_t first = is_reference ? kLong - 40 : 0;  // the reference computes only the last queries
    const Tensor q = all_queries.slice(2, first, kLong);
    const auto seconds_of = [&](const AttentionSpec& of) {  // on one thread, the best of three
      double best = 1e9;
      for (int n = 0; n < 3; ++n) {
        const std::clock_t begin = std::clock();
        (void)attend(q, k, v, of);
        best = std::min(best, static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
      }
      return best;
    };
    const AttentionMap map(attend(q, k, v, under).record);
    const Tensor out = attend(q, k, v, under).out;
    for (const int64_t query : {0, 99, 6'999, 7'000, 13'337, 19'989, 19'990, 19'995, 19'996, 19'997, 19'999}) {
      if (query < first) continue;
      std::vector<double> weights(kLong, 0);
      double sum = 0;
      for (int64_t j = 0; j < kLong; ++j) {
        double score = 0;
        for (int64_t c = 0; c < kNarrow; ++c)
          score +=
              static_cast<double>(all_queries.data<float>()[query * kNarrow + c]) * static_cast<double>(k.data<float>()[j * kNarrow + c]);
        sum += weights[static_cast<size_t>(j)] = shows(query, j) ? std::exp(score / std::sqrt(static_cast<double>(kNarrow))) : 0;
      }
      const MapRow row = map.head(0, 0).row(query - first);
      std::vector<double> expected(kNarrow, 0);
      for (int64_t j = 0; j < kLong; ++j) {
        const double weight = weights[static_cast<size_t>(j)] / sum;
        ASSERT_NEAR(static_cast<double>(row.weights()[static_cast<size_t>(j)]), weight, tolerance::kEdited * weight)
            << "query " << query << " key " << j;
        for (int64_t c = 0; c < kNarrow; ++c)
          expected[static_cast<size_t>(c)] += weight * static_cast<double>(v.data<float>()[j * kNarrow + c]);
      }
      for (int64_t c = 0; c < kNarrow; ++c) {
        ASSERT_NEAR(static_cast<double>(out.data<float>()[(query - first) * kNarrow + c]), expected[static_cast<size_t>(c)],
                    2 * tolerance::kEdited)
            << "query " << query;
      }
    }
    if (!is_reference) {  // whole blocks are visible or hidden: not slower than without the intervention; 0.8 of that time was measured
      EXPECT_LT(seconds_of(under), 2 * seconds_of(spec));
    }
  });
}

// Descriptions whose scores or band depend on positions, with fewer queries than keys: an
// intervention hides pairs and does not change positions.
TEST(Interventions, InCrossAttentionChangeOnlyVisibility) {
  const int64_t queries = 24;
  const Tensor q = random_tensor(1).slice(2, 0, queries), k = random_tensor(2), v = random_tensor(3);
  const InterventionSite site{.layer = 0, .heads = kHeads, .family = "cross", .cross_queries = Range{4, 12}};
  const Interventions interventions{.knockouts = {{.queries = {5, 7}, .keys = {0, 9}, .family = "cross"}}};
  const Hidden hidden = [](int64_t, int64_t query, int64_t key) { return (query % 8 == 1 || query % 8 == 2) && key < 9; };
  const Tensor slopes = Tensor::from(std::vector<float>{0.5F, 0.1F, 0.02F}, {kHeads}),
               by_offset = random_tensor(5).select(1, 0).slice(1, 0, 61).clone();
  AttentionSpec ruled;
  ruled.topology.visible = dilated(2, 60);
  const std::vector<std::pair<std::string, AttentionSpec>> specs = {
      {"alibi", {.terms = {Alibi{slopes}}}},
      {"relative", {.score = Relative{.keys = by_offset}}},
      {"window", {.topology = window(6, 50)}},
      {"rule", {.terms = {rule([](auto s, auto at) { return s - 0.1 * abs(at.query - at.key); })}}},
      {"visibility rule", ruled},
  };
  for (const auto& [name, from_end] : specs) {
    SCOPED_TRACE(name);
    AttentionSpec from_start = from_end;
    from_start.topology.band.align = Align::kStart;
    on_every_backend([&, &spec = from_start] {
      const AttentionSpec under = with_interventions(spec, interventions, site);
      expect_only_hidden(attend(q, k, v, under).record, attend(q, k, v, spec).record, hidden);
    });
    EXPECT_EQ(error_of([&, &spec = from_end] { (void)with_interventions(spec, interventions, site); }),
              "kUnsupported: an attention knockout: the description of this cross-attention reads positions and aligns the last query with "
              "the last key; "
              "expected one that counts both texts from their beginnings (Align::kStart)");
    const InterventionSite other{.layer = 0, .heads = kHeads, .family = "dec"};
    EXPECT_EQ(to_json(with_interventions(from_end, interventions, other)), to_json(from_end)) << "a site of another family";
  }
  // If nothing depends on positions, the alignment of queries does not matter.
  const AttentionSpec plain{.terms = {SoftCap{5}}};
  expect_only_hidden(attend(q, k, v, with_interventions(plain, interventions, site)).record, attend(q, k, v, plain).record, hidden);
}

TEST(Interventions, InvalidHeadsAndRangesAreRefusedByName) {
  const auto message = [](const Interventions& interventions) -> std::string {
    try {
      (void)with_interventions({}, interventions, {0, kHeads});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message({.ablated = {{0, 3}}}), "ablated head L0.H3 is out of range; heads are 0 to 2");
  EXPECT_NE(message({.knockouts = {{.queries = {5, 4}, .keys = {0, 1}}}}).find("an attention knockout: queries 5 to 4"), std::string::npos);
  EXPECT_NE(message({.keep_only = {{.queries = {0, 1}, .keys = {-1, 1}}}}).find("a keep-only: keys -1 to 1"), std::string::npos);
  EXPECT_NE(message({.knockouts = {{.queries = {0, 1}, .keys = {0, 1}, .head = 9}}}).find("head 9"), std::string::npos);
}

}  // namespace
}  // namespace clearhead
