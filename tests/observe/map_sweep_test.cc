// Sweeps of every backend compared with statistics of naive double weights.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "base/parallel.h"
#include "clearhead/error.h"
#include "observe/map_cases.h"
#include "tolerance.h"

namespace clearhead {
namespace {

using map_cases::all_cases;
using map_cases::Case;
using map_cases::eager;
using map_cases::Made;
using map_cases::make;
using map_cases::same_bits;

std::vector<int32_t> tags(int64_t count, int32_t kinds, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> out(static_cast<size_t>(count));
  for (int32_t& tag : out) tag = static_cast<int32_t>(random() % static_cast<uint32_t>(kinds)) - 1;  // −1 matches nothing
  return out;
}

ReductionRequest everything(const Case& c, std::array<int64_t, 2> cells, int64_t reach) {
  ReductionRequest request{entropy, received, distance, offsets};
  request.matches = {Match{tags(c.sizes.queries, 4, 1), tags(c.sizes.keys, 4, 2)},
                     Match{tags(c.sizes.queries, 9, 3), tags(c.sizes.keys, 9, 4)}};
  request.cells = cells;
  request.offset_reach = reach;
  return request;
}

// The statistics of one head in double, from its weights [query][key], NaN where hidden.
struct Naive {
  std::vector<double> entropy, distance, received, offsets;
  std::vector<std::vector<double>> matches;
  std::vector<double> max, mean;
};

Naive naive(const Case& c, const Made& made, int64_t batch, int64_t head, const ReductionRequest& request) {
  const auto weights = eager(c, made, batch, head);
  const int64_t queries = c.sizes.queries, keys = c.sizes.keys, reach = request.offset_reach;
  Naive out;
  out.received.resize(static_cast<size_t>(keys));
  out.offsets.resize(static_cast<size_t>(2 * reach + 1));
  out.matches.resize(request.matches.size(), std::vector<double>(static_cast<size_t>(queries)));
  for (int64_t i = 0; i < queries; ++i) {
    const int64_t position = made.attended.record.position_of(i);
    double entropies = 0, distances = 0, sum = 0;
    bool any = false;
    for (int64_t j = 0; j < keys; ++j) {
      const double p = weights[static_cast<size_t>(i)][static_cast<size_t>(j)];
      if (std::isnan(p)) continue;
      any = true;
      sum += p;
      entropies -= p > 0 ? p * std::log(p) : 0;
      distances += p * static_cast<double>(std::abs(position - j));
      out.received[static_cast<size_t>(j)] += p;
      out.offsets[static_cast<size_t>(std::clamp(j - position, -reach, reach) + reach)] += p;
      for (size_t m = 0; m < request.matches.size(); ++m) {
        const int32_t tag = request.matches[m].query_tags[static_cast<size_t>(i)];
        if (j != position && tag >= 0 && tag == request.matches[m].key_tags[static_cast<size_t>(j)])
          out.matches[m][static_cast<size_t>(i)] += p;
      }
    }
    const double sink = any && !rows_sum_to_one(c.spec) ? 1 - sum : 0;
    out.entropy.push_back(entropies - (sink > 0 ? sink * std::log(sink) : 0));
    out.distance.push_back(distances);
  }
  const auto [rows, columns] = request.cells;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t column = 0; column < columns; ++column) {
      double sum = 0, largest = -1, count = 0;
      for (int64_t i = r * queries / rows; i < (r + 1) * queries / rows; ++i) {
        for (int64_t j = column * keys / columns; j < (column + 1) * keys / columns; ++j) {
          const double p = weights[static_cast<size_t>(i)][static_cast<size_t>(j)];
          if (std::isnan(p)) continue;
          sum += p, count += 1, largest = std::max(largest, p);
        }
      }
      out.max.push_back(count > 0 ? largest : NAN);
      out.mean.push_back(count > 0 ? sum / count : NAN);
    }
  }
  return out;
}

void expect_close(const char* name, const float* got, const std::vector<double>& want, double absolute, double relative) {
  for (size_t i = 0; i < want.size(); ++i) {
    if (std::isnan(want[i])) {
      ASSERT_TRUE(std::isnan(got[i])) << name << " " << i;
    } else {
      ASSERT_NEAR(got[i], want[i], absolute + relative * std::abs(want[i])) << name << " " << i;
    }
  }
}

void expect_naive(const Case& c, const Made& made, const ReductionRequest& request, const ReductionResult& swept) {
  const int64_t maps = c.sizes.batch * c.sizes.heads, queries = c.sizes.queries, keys = c.sizes.keys,
                cells = request.cells[0] * request.cells[1];
  ASSERT_EQ(swept.entropy.shape(), (Shape{c.sizes.batch, c.sizes.heads, queries}));
  for (int64_t map = 0; map < maps; ++map) {
    const Naive want = naive(c, made, map / c.sizes.heads, map % c.sizes.heads, request);
    expect_close("entropy", swept.entropy.data<float>() + map * queries, want.entropy, tolerance::kNaiveEntropy, 0);
    expect_close("distance", swept.distance.data<float>() + map * queries, want.distance, tolerance::kFew, tolerance::kNaive);
    expect_close("received", swept.received.data<float>() + map * keys, want.received, tolerance::kStored, tolerance::kNaive);
    expect_close("offsets", swept.offsets.data<float>() + map * (2 * request.offset_reach + 1), want.offsets, tolerance::kStored,
                 tolerance::kNaive);
    for (size_t m = 0; m < request.matches.size(); ++m) {
      expect_close("match", swept.matches.data<float>() + (static_cast<int64_t>(m) * maps + map) * queries, want.matches[m],
                   tolerance::kStored, tolerance::kNaive);
    }
    if (cells == 0) continue;
    expect_close("max", swept.pooled_max.data<float>() + map * cells, want.max, 1e-30, tolerance::kNaive);
    expect_close("mean", swept.pooled_mean.data<float>() + map * cells, want.mean, 1e-30, tolerance::kNaive);
  }
}

TEST(Sweep, StatisticsMatchEagerWeightsInDouble) {
  on_every_backend([] {
    for (const Case& c : all_cases()) {
      SCOPED_TRACE(c.name);
      const Made made = make(c);
      for (const int64_t reach : {0ll, 5ll, 64ll}) {
        const ReductionRequest request = everything(c, {0, 0}, reach);
        expect_naive(c, made, request, AttentionMap(made.attended.record).reduce(request));
      }
    }
  });
}

// Long enough for several blocks of rows per strip, which share the key tiles. Under a window, blocks see different tiles.
TEST(Sweep, StripsOfSeveralRowBlocksMatchEagerWeights) {
  on_every_backend([] {
    for (const Topology& topology : {causal(), causal(300)}) {
      const Case c{"long", {.queries = 2000, .keys = 2000}, {.topology = topology}};
      const Made made = make(c);
      const ReductionRequest request = everything(c, {9, 11}, 24);
      expect_naive(c, made, request, AttentionMap(made.attended.record).reduce(request));
    }
  });
}

TEST(Sweep, PooledCellsWithAnyBoundariesMatchEagerWeights) {
  on_every_backend([] {
    for (const Case& c : all_cases()) {
      SCOPED_TRACE(c.name);
      const Made made = make(c);
      for (const std::array<int64_t, 2> cells : {std::array<int64_t, 2>{1, 1}, {3, 7}, {13, 40}, {400, 3}}) {
        const ReductionRequest request = everything(c, cells, 8);
        expect_naive(c, made, request, AttentionMap(made.attended.record).reduce(request));
      }
    }
  });
}

TEST(Sweep, EachStatisticAloneIsTheSameAsTogether) {
  on_every_backend([] {
    const Case c{"causal", {.queries = 200, .keys = 200}, {.topology = causal()}};
    const AttentionMap map(make(c).attended.record);
    const ReductionRequest request = everything(c, {9, 11}, 16);
    const ReductionResult all = map.reduce(request);
    EXPECT_TRUE(same_bits(map.reduce({entropy}).entropy, all.entropy));
    EXPECT_TRUE(same_bits(map.reduce({distance}).distance, all.distance));
    EXPECT_TRUE(same_bits(map.reduce({received}).received, all.received));
    ReductionRequest alone{offsets};
    alone.offset_reach = 16;
    EXPECT_TRUE(same_bits(map.reduce(alone).offsets, all.offsets));
    alone = ReductionRequest();
    alone.matches = request.matches;
    alone.cells = request.cells;
    const ReductionResult rest = map.reduce(alone);
    EXPECT_TRUE(same_bits(rest.matches, all.matches));
    EXPECT_TRUE(same_bits(rest.pooled_max, all.pooled_max));
    EXPECT_TRUE(same_bits(rest.pooled_mean, all.pooled_mean));
    EXPECT_FALSE(rest.entropy.defined());
  });
}

TEST(Sweep, TopKeysEqualTopKOfEachRowWithTiesToTheEarlierKey) {
  on_every_backend([] {
    const Case c{"causal", {.heads = 4, .key_heads = 2, .queries = 333, .keys = 333}, {.topology = causal()}};
    const Made made = make(c);
    Tensor twins = made.k.clone();  // every three consecutive keys are equal
    float* k = twins.mutable_data<float>();
    for (int64_t j = 0; j < twins.numel(); j += 16) std::copy_n(k + j / 16 / 3 * 3 * 16, 16, k + j);
    const AttentionMap map(attend(made.q, twins, made.v, c.spec).record);
    ReductionRequest request{entropy};
    request.top_k = 7;
    const ReductionResult all = map.reduce(request), some = map.reduce(request, {.sampled_rows = 50});
    ASSERT_EQ(all.top_keys.shape(), (Shape{1, 4, 333, 7}));
    for (size_t at = 0; at < some.queries.size(); ++at) {
      const int64_t query = some.queries[at], head = query % 4;
      const std::vector<Weighted> expected = map.head(0, head).row(query).top_k(7);
      const auto of_all = (head * 333 + query) * 7, of_some = (head * some.rows_looked_at + static_cast<int64_t>(at)) * 7;
      for (int64_t place = 0; place < 7; ++place) {
        const bool sees = place < static_cast<int64_t>(expected.size());
        const Weighted key = sees ? expected[static_cast<size_t>(place)] : Weighted{.key = -1};
        ASSERT_EQ(all.top_keys.data<int32_t>()[of_all + place], key.key) << "query " << query << " place " << place;
        ASSERT_EQ(all.top_weights.data<float>()[of_all + place], key.weight) << "query " << query << " place " << place;
        ASSERT_EQ(some.top_keys.data<int32_t>()[of_some + place], key.key) << "query " << query << " place " << place;
      }
    }
  });
}

TEST(Sweep, BitsDependOnNeitherThreadsNorHeadsNorBatch) {
  on_every_backend([] {
    const Case c{"causal", {.batch = 2, .heads = 4, .key_heads = 2, .queries = 1200, .keys = 1200}, {.topology = causal()}};
    const Made made = make(c);
    const AttentionMap map(made.attended.record);
    ReductionRequest request = everything(c, {17, 19}, 32);
    set_threads(1);
    const ReductionResult one = map.reduce(request);
    for (int count = 2; count <= 4; ++count) {
      set_threads(count);
      const ReductionResult many = map.reduce(request);
      EXPECT_TRUE(same_bits(many.entropy, one.entropy) && same_bits(many.distance, one.distance) && same_bits(many.received, one.received))
          << count;
      EXPECT_TRUE(same_bits(many.offsets, one.offsets) && same_bits(many.matches, one.matches)) << count;
      EXPECT_TRUE(same_bits(many.pooled_max, one.pooled_max) && same_bits(many.pooled_mean, one.pooled_mean)) << count;
    }
    set_threads(2);
    request.heads = {3, 4};
    const ReductionResult last = map.reduce(request);
    ASSERT_EQ(last.received.shape(), (Shape{2, 1, 1200}));
    for (int64_t batch = 0; batch < 2; ++batch) {
      EXPECT_TRUE(same_bits(last.received.data<float>() + batch * 1200, one.received.data<float>() + (batch * 4 + 3) * 1200, 1200));
      EXPECT_TRUE(same_bits(last.entropy.data<float>() + batch * 1200, one.entropy.data<float>() + (batch * 4 + 3) * 1200, 1200));
      EXPECT_TRUE(same_bits(last.offsets.data<float>() + batch * 65, one.offsets.data<float>() + (batch * 4 + 3) * 65, 65));
    }
  });
}

TEST(Sweep, PagesAndDecodeStepsAreSweptLikePlainKeys) {
  on_every_backend([] {
    const Case c{"pages", {.heads = 4, .key_heads = 2, .queries = 300, .keys = 300}, {.topology = causal()}};
    const Made made = make(c);
    KVCache cache;
    cache.append(made.k, made.v);
    const ReductionRequest request = everything(c, {7, 7}, 20);
    const Attended paged = attend(made.q, cache.snapshot(), c.spec);
    expect_naive(c, made, request, AttentionMap(paged.record).reduce(request));
    const Case step{"step", {.heads = 4, .key_heads = 2, .queries = 1, .keys = 300}, {.topology = causal()}};
    Made last{made.q.slice(2, 299, 300), made.k, made.v, {}};
    last.attended = attend(last.q, cache.snapshot(), step.spec);
    const ReductionRequest of_step = everything(step, {1, 5}, 20);
    expect_naive(step, last, of_step, AttentionMap(last.attended.record).reduce(of_step));
  });
}

TEST(Sweep, SampledSweepsAreMarkedInexactAndScaleTheirSums) {
  on_every_backend([] {
    const Case c{"causal", {.queries = 400, .keys = 400}, {.topology = causal()}};
    const AttentionMap map(make(c).attended.record);
    const ReductionRequest request = everything(c, {10, 10}, 16);
    const ReductionResult exact = map.reduce(request), some = map.reduce(request, {.sampled_rows = 100});
    EXPECT_TRUE(exact.exact);
    EXPECT_FALSE(some.exact);
    ASSERT_GE(some.rows_looked_at, 100);
    ASSERT_EQ(some.entropy.size(2), some.rows_looked_at);
    ASSERT_EQ(static_cast<int64_t>(some.queries.size()), some.rows_looked_at);
    for (int64_t r = 0; r < some.rows_looked_at; ++r) {
      const int64_t query = some.queries[static_cast<size_t>(r)];
      EXPECT_EQ(some.entropy.data<float>()[r], exact.entropy.data<float>()[query]);
      EXPECT_EQ(some.matches.data<float>()[r], exact.matches.data<float>()[query]);
    }
    double received_all = 0, offsets_all = 0;
    for (int64_t key = 0; key < 400; ++key) received_all += static_cast<double>(some.received.data<float>()[key]);
    for (int64_t offset = 0; offset < 33; ++offset) offsets_all += static_cast<double>(some.offsets.data<float>()[offset]);
    EXPECT_NEAR(received_all, 400, 400 * tolerance::kNaiveTotal);
    EXPECT_NEAR(offsets_all, 400, 400 * tolerance::kNaiveTotal);
    for (int64_t cell = 0; cell < 100; ++cell) EXPECT_EQ(std::isnan(some.pooled_max.data<float>()[cell]), cell / 10 < cell % 10) << cell;
  });
}

TEST(Sweep, ARowThatSeesNothingHasZerosAndHiddenCellsAreNaN) {
  on_every_backend([] {
    AttentionSpec spec;
    Tensor visible = Tensor::zeros({1, 1, 60, 40}, DType::kBool);
    bool* see = visible.mutable_data<bool>();
    for (int64_t i = 30; i < 60; ++i) {
      for (int64_t j = 0; j < 10; ++j) see[i * 40 + j] = true;
    }
    spec.topology.mask = Mask{visible};
    const Case c{"half hidden", {.queries = 60, .keys = 40}, spec};
    const Made made = make(c);
    const ReductionRequest request = everything(c, {2, 4}, 4);
    const ReductionResult swept = AttentionMap(made.attended.record).reduce(request);
    expect_naive(c, made, request, swept);
    for (int64_t row = 0; row < 30; ++row) EXPECT_EQ(swept.entropy.data<float>()[row], 0) << row;
    for (int64_t cell = 0; cell < 8; ++cell) EXPECT_EQ(std::isnan(swept.pooled_mean.data<float>()[cell]), cell != 4) << cell;
  });
}

TEST(Sweep, ARecordMadeByOneBackendIsSweptByEveryOther) {
  const Case c{"causal", {.queries = 120, .keys = 120}, {.topology = causal()}};
  choose_backend("ref");
  const Made made = make(c);  // its m are not integers
  const ReductionRequest request = everything(c, {5, 5}, 8);
  on_every_backend([&] { expect_naive(c, made, request, AttentionMap(made.attended.record).reduce(request)); });
  choose_backend("cpu");
}

}  // namespace
}  // namespace clearhead
