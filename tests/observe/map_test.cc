// AttentionMap: rows, tiles, top-k, masses and weights as used, on every backend.
#include "clearhead/map.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>

#include "base/parallel.h"
#include "clearhead/error.h"
#include "observe/map_cases.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

using map_cases::all_cases;
using map_cases::Case;
using map_cases::eager;
using map_cases::Made;
using map_cases::make;
using map_cases::same_bits;
using map_cases::weight_bound;

ErrorCode code_of(const std::function<void()>& look) {
  try {
    look();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error was thrown";
  return ErrorCode::kIo;
}

TEST(AttentionMap, RowsAreTheEagerSoftmaxInDoubleWithinTheBound) {
  on_every_backend([] {
    for (const Case& c : all_cases()) {
      SCOPED_TRACE(c.name);
      const Made made = make(c);
      const AttentionMap map(made.attended.record);
      for (int64_t batch = 0; batch < c.sizes.batch; ++batch) {
        for (int64_t head = 0; head < c.sizes.heads; ++head) {
          std::vector<double> largest;
          const auto expected = eager(c, made, batch, head, &largest);
          for (int64_t query = 0; query < c.sizes.queries; query += 7) {
            const MapRow row = map.head(batch, head).row(query);
            for (int64_t key = 0; key < c.sizes.keys; ++key) {
              const size_t i = static_cast<size_t>(query), j = static_cast<size_t>(key);
              const double weight = std::isnan(expected[i][j]) ? 0 : expected[i][j];
              ASSERT_NEAR(row.weights()[j], weight, weight_bound(weight, largest[i])) << head << " " << query << " " << key;
              ASSERT_EQ(row.scores()[j] == -INFINITY, std::isnan(expected[i][j])) << query << " " << key;
            }
          }
        }
      }
    }
  });
}

TEST(AttentionMap, TilesRowsColumnsAndTopKAreTheSameBitsForAnyNumberOfThreads) {
  on_every_backend([] {
    for (const Case& c : all_cases()) {
      SCOPED_TRACE(c.name);
      const Made made = make(c);
      const MapHead head = AttentionMap(made.attended.record).head(0, c.sizes.heads - 1);
      const Range queries{0, c.sizes.queries}, keys{0, c.sizes.keys};
      set_threads(1);
      const Tensor whole = head.tile({.queries = queries, .keys = keys}).max;
      for (int count = 1; count <= 4; ++count) {
        set_threads(count);
        const float* weights = whole.data<float>();
        for (int64_t query = 0; query < c.sizes.queries; ++query, weights += c.sizes.keys) {
          const MapRow row = head.row(query);
          for (int64_t key = 0; key < c.sizes.keys; ++key) {
            const size_t j = static_cast<size_t>(key);
            if (std::isnan(weights[j])) {
              ASSERT_EQ(row.weights()[j], 0) << query << " " << key;
            } else {
              ASSERT_EQ(row.weights()[j], weights[j]) << query << " " << key << " threads " << count;
            }
          }
          for (const Weighted& top : row.top_k(4)) {
            ASSERT_EQ(top.weight, weights[top.key]);
            ASSERT_EQ(top.score, row.scores()[static_cast<size_t>(top.key)]);
          }
        }
        const int64_t key = c.sizes.keys / 2;
        const std::vector<float> column = head.column(key, queries);
        for (int64_t query = 0; query < c.sizes.queries; ++query) {
          const float weight = whole.data<float>()[query * c.sizes.keys + key];
          ASSERT_EQ(column[static_cast<size_t>(query)], std::isnan(weight) ? 0 : weight) << query;
        }
        const Range inner{c.sizes.keys / 3, c.sizes.keys};
        const Tensor part = head.tile({.queries = {c.sizes.queries / 2, c.sizes.queries}, .keys = inner}).max;
        for (int64_t r = 0; r < part.size(0); ++r) {
          ASSERT_TRUE(same_bits(part.data<float>() + r * inner.size(),
                                whole.data<float>() + (c.sizes.queries / 2 + r) * c.sizes.keys + inner.begin,
                                static_cast<size_t>(inner.size())))
              << r;
        }
      }
      set_threads(2);
    }
  });
}

TEST(AttentionMap, TopKIsOrderedByScoreWithTiesToTheEarlierKeyAndNeverShowsHiddenKeys) {
  const Tensor q = Tensor::from<float>({1}, {1, 1, 1, 1});
  const Tensor k = Tensor::from<float>({3, 7, 7, 9, 1, 7}, {1, 1, 6, 1});
  AttentionSpec spec;
  spec.topology.mask = Mask{Tensor::from<bool>({true, true, true, false, true, true}, {1, 1, 1, 6})};
  const MapRow row = AttentionMap(attend(q, k, k, spec).record).head(0, 0).row(0);
  std::vector<int64_t> order;
  for (const Weighted& top : row.top_k(100)) order.push_back(top.key);
  EXPECT_EQ(order, (std::vector<int64_t>{1, 2, 5, 0, 4}));
  EXPECT_NEAR(row.top_k(1)[0].score, 7, tolerance::kSum);
  EXPECT_TRUE(row.top_k(0).empty());
}

// The expected pooled tile, from the full weights.
Tile pool_by_hand(const Tensor& weights, const TileRequest& request) {
  const auto [rows, columns] = request.cells;
  Tile out{Tensor::empty({rows, columns}), Tensor::empty({rows, columns})};
  float *max = out.max.mutable_data<float>(), *mean = out.mean.mutable_data<float>();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      double sum = 0, largest = -1, count = 0;
      for (int64_t i = r * request.queries.size() / rows; i < (r + 1) * request.queries.size() / rows; ++i) {
        for (int64_t j = c * request.keys.size() / columns; j < (c + 1) * request.keys.size() / columns; ++j) {
          const double weight = weights.data<float>()[(request.queries.begin + i) * weights.size(1) + request.keys.begin + j];
          if (std::isnan(weight)) continue;
          sum += weight;
          largest = std::max(largest, weight);
          count += 1;
        }
      }
      *max++ = count == 0 ? NAN : static_cast<float>(largest);
      *mean++ = count == 0 ? NAN : static_cast<float>(sum / count);
    }
  }
  return out;
}

// Maxima must be equal bit for bit, means within the accuracy of weights.
void expect_cells(const Tile& got, const Tile& expected) {
  ASSERT_EQ(got.max.shape(), expected.max.shape());
  for (int64_t i = 0; i < expected.max.numel(); ++i) {
    const float max = got.max.data<float>()[i], mean = got.mean.data<float>()[i], want_max = expected.max.data<float>()[i],
                want_mean = expected.mean.data<float>()[i];
    ASSERT_EQ(std::isnan(max), std::isnan(want_max)) << i;
    ASSERT_EQ(std::isnan(mean), std::isnan(want_mean)) << i;
    if (std::isnan(want_max)) continue;
    ASSERT_EQ(max, want_max) << i;
    ASSERT_NEAR(mean, want_mean, tolerance::kWeightF32 * static_cast<double>(want_mean)) << i;
  }
}

TEST(AttentionMap, PooledCellsArePoolingsOfTheFullWeightsAtOddBoundaries) {
  on_every_backend([] {
    for (const Case& c : all_cases()) {
      SCOPED_TRACE(c.name);
      const MapHead head = AttentionMap(make(c).attended.record).head(0, 0);
      const Tensor whole = head.tile({.queries = {0, c.sizes.queries}, .keys = {0, c.sizes.keys}}).max;
      for (const std::array<int64_t, 2> cells : {std::array<int64_t, 2>{1, 1}, {7, 5}, {3, 200}, {150, 11}}) {
        const TileRequest request{
            .queries = {c.sizes.queries / 5, c.sizes.queries}, .keys = {c.sizes.keys / 7, c.sizes.keys}, .cells = cells};
        const Tile tile = head.tile(request), expected = pool_by_hand(whole, request);
        ASSERT_TRUE(tile.exact);
        expect_cells(tile, expected);
      }
    }
  });
}

TEST(AttentionMap, ALargePooledTileHasTheSameBitsForAnyNumberOfThreads) {
  on_every_backend([] {
    const Case c{"long", {.queries = 1000, .keys = 2500}, {.topology = causal()}};
    const MapHead head = AttentionMap(make(c).attended.record).head(0, 1);
    const TileRequest request{.queries = {3, 1000}, .keys = {1, 2500}, .cells = {13, 9}};
    set_threads(1);
    const Tile expected = head.tile(request);
    expect_cells(expected, pool_by_hand(head.tile({.queries = {0, 1000}, .keys = {0, 2500}}).max, request));
    for (int count = 1; count <= 4; ++count) {
      set_threads(count);
      const Tile again = head.tile(request);
      EXPECT_TRUE(same_bits(again.max, expected.max) && same_bits(again.mean, expected.mean)) << count;
    }
    set_threads(2);
  });
}

TEST(AttentionMap, CellsOfAFixedSideCoverTheRectangleAndItsRaggedEnd) {
  on_every_backend([] {
    const Case c{"causal", {.queries = 301, .keys = 333}, {.topology = causal()}};
    const MapHead head = AttentionMap(make(c).attended.record).head(0, 1);
    const Range queries{5, 300}, keys{3, 330};
    for (const int64_t side : {2, 16, 100, 512}) {
      const Tile tile = head.tile({.queries = queries, .keys = keys, .cell_side = side});
      ASSERT_EQ(tile.max.shape(), (Shape{(295 + side - 1) / side, (327 + side - 1) / side}));
      for (int64_t r = 0; r < tile.max.size(0); ++r) {
        for (int64_t k = 0; k < tile.max.size(1); ++k) {
          const Range some{queries.begin + r * side, std::min(queries.end, queries.begin + (r + 1) * side)};
          const Range own{keys.begin + k * side, std::min(keys.end, keys.begin + (k + 1) * side)};
          const Tile one = head.tile({.queries = some, .keys = own, .cells = {1, 1}});
          const float max = one.max.data<float>()[0], mean = one.mean.data<float>()[0];
          const int64_t at = r * tile.max.size(1) + k;
          ASSERT_TRUE(std::isnan(max) ? std::isnan(tile.max.data<float>()[at]) : tile.max.data<float>()[at] == max) << side << ' ' << at;
          ASSERT_EQ(std::isnan(tile.mean.data<float>()[at]), std::isnan(mean)) << side << ' ' << at;
          ASSERT_TRUE(std::isnan(mean) || std::abs(tile.mean.data<float>()[at] - mean) <= static_cast<float>(tolerance::kWeightF32) * mean)
              << side << ' ' << at;
        }
      }
    }
  });
}

TEST(AttentionMap, FactorsMultiplyWeightsAndANaNFactorLeavesItsKeyOut) {
  const Case c{"causal", {.queries = 60, .keys = 60}, {.topology = causal()}};
  const MapHead head = AttentionMap(make(c).attended.record).head(0, 0);
  TileRequest request{
      .queries = {10, 60}, .keys = {5, 45}, .key_factors = std::vector<float>(40, 1), .row_factors = std::vector<float>(50, 2)};
  request.key_factors[3] = 0.25f;
  request.key_factors[4] = NAN;
  const Tensor plain = head.tile({.queries = request.queries, .keys = request.keys}).max, scaled = head.tile(request).max;
  for (int64_t r = 0; r < 50; ++r) {
    const float* from = plain.data<float>() + r * 40;
    const float* to = scaled.data<float>() + r * 40;
    EXPECT_EQ(to[0], from[0] * 2);
    EXPECT_EQ(to[3], from[3] * 2 * 0.25f);
    EXPECT_TRUE(std::isnan(to[4]));
  }
  request.cells = {4, 5};
  expect_cells(head.tile(request), pool_by_hand(scaled, {.queries = {0, 50}, .keys = {0, 40}, .cells = {4, 5}}));
  request.key_factors.resize(39);
  EXPECT_EQ(code_of([&] { head.tile(request); }), ErrorCode::kInvalidArgument);
}

TEST(AttentionMap, MassIsTheMeanOverRowsOfTheSumOverKeysInEveryHead) {
  on_every_backend([] {
    for (const Case& c : all_cases()) {
      SCOPED_TRACE(c.name);
      const Made made = make(c);
      const AttentionMap map(made.attended.record);
      const Range rows{c.sizes.queries / 3, c.sizes.queries}, keys{c.sizes.keys / 5, c.sizes.keys - 1};
      set_threads(1);
      const Tensor mass = map.mass(rows, keys);
      set_threads(3);
      EXPECT_TRUE(same_bits(map.mass(rows, keys), mass));
      set_threads(2);
      for (int64_t batch = 0; batch < c.sizes.batch; ++batch) {
        for (int64_t head = 0; head < c.sizes.heads; ++head) {
          const auto weights = eager(c, made, batch, head);
          double total = 0;
          for (int64_t i = rows.begin; i < rows.end; ++i) {
            for (int64_t j = keys.begin; j < keys.end; ++j) {
              const double weight = weights[static_cast<size_t>(i)][static_cast<size_t>(j)];
              total += std::isnan(weight) ? 0 : weight;
            }
          }
          EXPECT_NEAR(mass.data<float>()[batch * c.sizes.heads + head], total / static_cast<double>(rows.size()),
                      2 * tolerance::kWeightF32);
        }
      }
    }
  });
}

TEST(AttentionMap, ReadingAfterAnOperandChangedIsRefused) {
  const Case c{"full", {}, {}};
  Made made = make(c);
  const AttentionMap map(made.attended.record);
  map.head(0, 0).row(0);
  made.k.mutable_data<float>()[0] += 1;
  EXPECT_EQ(code_of([&] { map.head(0, 0).row(0); }), ErrorCode::kStale);
  EXPECT_EQ(code_of([&] { map.head(0, 0).column(0, {0, 1}); }), ErrorCode::kStale);
  EXPECT_EQ(code_of([&] { map.head(0, 0).tile({.queries = {0, 1}, .keys = {0, 1}}); }), ErrorCode::kStale);
  EXPECT_EQ(code_of([&] { map.mass({0, 1}, {0, 1}); }), ErrorCode::kStale);
  EXPECT_EQ(code_of([&] { map.reduce({entropy}); }), ErrorCode::kStale);
}

TEST(AttentionMap, RangesOutsideTheMapAreRefusedAndNamed) {
  const AttentionMap map(make({"full", {}, {}}).attended.record);
  EXPECT_EQ(code_of([&] { map.head(0, 2); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { map.head(-1, 0); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { map.head(0, 0).row(70); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { map.head(0, 0).column(70, {0, 1}); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { map.head(0, 0).tile({.queries = {5, 4}, .keys = {0, 1}}); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { map.head(0, 0).tile({.queries = {0, 4}, .keys = {0, 4}, .cells = {2, 0}}); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { map.mass({4, 4}, {0, 1}); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] {
              ReductionRequest request;
              request.matches = {Match{std::vector<int32_t>(70), std::vector<int32_t>(3)}};
              map.reduce(request);
            }),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(error_of([&] { map.head(0, 0).row(70); }), "kInvalidArgument: map: queries [70, 71) are not a range inside [0, 70)");
}

// tests/conformance/narrow_test.cc tests the effect of rounding on a weight.
TEST(AttentionMap, WeightsAsUsedAgreeAcrossRowsTilesColumnsAndMass) {
  on_every_backend([] {
    const Case c{"causal", {.queries = 90, .keys = 90}, {.topology = causal()}};
    const Made made = make(c);
    AttentionRecord record = made.attended.record;
    EXPECT_EQ(AttentionMap(record).with(LookPrecision::kAsUsed).head(0, 1).row(70).weights(),
              AttentionMap(record).head(0, 1).row(70).weights())
        << "P is f32";
    record.rows.used = Tensor::empty(record.rows.l.shape());
    for (int64_t i = 0; i < record.rows.l.numel(); ++i) record.rows.used.mutable_data<float>()[i] = 2 * record.rows.l.data<float>()[i];
    record.spec.after.head_mask = Tensor::from<float>({1, 0.25F}, {2});
    record.stamp = stamp_now(record.spec, record.q, record.keys, record.stamp.isa);
    const AttentionMap exact(record), used = exact.with(LookPrecision::kAsUsed);
    const std::vector<float> row = used.head(0, 1).row(70).weights(), unrounded = exact.head(0, 1).row(70).weights();
    double mass = 0;
    for (size_t j = 0; j < row.size(); ++j) {
      EXPECT_NEAR(row[j], unrounded[j] / 2, unrounded[j] * 0x1p-9F) << j;
      mass += static_cast<double>(row[j]);
    }
    EXPECT_NE(row, [&] {
      std::vector<float> half = unrounded;
      for (float& weight : half) weight /= 2;
      return half;
    }()) << "rounded";
    EXPECT_EQ(used.head(0, 1).row(70).scores(), exact.head(0, 1).row(70).scores());
    const Tensor tile = used.head(0, 1).tile({.queries = {70, 71}, .keys = {0, 71}}).max;
    for (int64_t j = 0; j < 71; ++j) EXPECT_EQ(tile.data<float>()[j], row[static_cast<size_t>(j)]);
    EXPECT_EQ(used.head(0, 1).column(33, {70, 71})[0], row[33]);
    EXPECT_NEAR(static_cast<double>(used.mass({70, 71}, {0, 90}).data<float>()[1]), mass, tolerance::kWeightF32);
    const float pooled = used.head(0, 1).tile({.queries = {70, 71}, .keys = {0, 71}, .cells = {1, 1}}).max.data<float>()[0];
    EXPECT_EQ(pooled, *std::max_element(row.begin(), row.end()));
    EXPECT_EQ(used.after().head(0, 1).row(70).weights()[33], row[33] / 4);
    EXPECT_EQ(exact.after().with(LookPrecision::kAsUsed).head(0, 1).row(70).weights()[33], row[33] / 4);
    EXPECT_NEAR(static_cast<double>(used.reduce({received}).received.data<float>()[90]),
                static_cast<double>(exact.reduce({received}).received.data<float>()[90]) / 2, 0.05);
    AttentionRecord pinned = record.pin();
    EXPECT_EQ(AttentionMap(pinned).with(LookPrecision::kAsUsed).head(0, 1).row(70).weights(), row);
  });
}

TEST(AttentionMap, PartialRecordsServeTheirRowsAndRefuseOthers) {
  on_every_backend([] {
    AttentionSpec spec;
    spec.topology = causal();
    spec.topology.mask = Mask{map_cases::random_mask({1, 1, 90, 90}, 3, 0.7)};
    const Case c{"causal with a mask by query", {.queries = 90, .keys = 90}, spec};
    const Made made = make(c);
    AttentionRecord some = made.attended.record;  // only rows 61 … 83
    some.q = some.q.slice(2, 61, 83);
    some.rows.m = some.rows.m.slice(2, 61, 83);
    some.rows.l = some.rows.l.slice(2, 61, 83);
    some.first_query = 61;
    some.stamp = stamp_now(some.spec, some.q, some.keys, some.stamp.isa);
    const AttentionMap whole(made.attended.record), part(some);
    EXPECT_EQ(part.rows_kept().begin, 61);
    EXPECT_EQ(part.rows_kept().end, 83);
    for (int64_t query = 61; query < 83; ++query)
      EXPECT_EQ(part.head(0, 1).row(query).weights(), whole.head(0, 1).row(query).weights()) << query;
    EXPECT_TRUE(same_bits(part.head(0, 0).tile({.queries = {62, 80}, .keys = {1, 88}, .cells = {5, 6}}).max,
                          whole.head(0, 0).tile({.queries = {62, 80}, .keys = {1, 88}, .cells = {5, 6}}).max));
    EXPECT_TRUE(same_bits(part.mass({61, 83}, {3, 50}), whole.mass({61, 83}, {3, 50})));
    EXPECT_EQ(code_of([&] { part.head(0, 0).row(60); }), ErrorCode::kNotFound);
    EXPECT_EQ(code_of([&] { part.mass({0, 90}, {0, 90}); }), ErrorCode::kNotFound);
    const ReductionResult swept = part.reduce({entropy, received});
    const Tensor entropies = whole.reduce({entropy}).entropy;
    ASSERT_EQ(swept.rows_looked_at, 22);
    EXPECT_EQ(swept.queries.front(), 61);
    EXPECT_TRUE(swept.exact);
    for (int64_t row = 0; row < 22; ++row) EXPECT_EQ(swept.entropy.data<float>()[22 + row], entropies.data<float>()[90 + 61 + row]) << row;
  });
}

TEST(AttentionMap, PagedKeysGiveTheScoresOfPlainKeysAndStayValidAsTheCacheGrows) {
  on_every_backend([] {
    const Case c{"pages", {.heads = 4, .key_heads = 2, .queries = 300, .keys = 300}, {.topology = causal()}};
    const Made made = make(c);
    KVCache cache;
    cache.append(made.k, made.v);
    const AttentionMap plain(made.attended.record), paged(attend(made.q, cache.snapshot(), c.spec).record);
    const Tensor step = random_tensor({1, 4, 1, 16}, 9), more = random_tensor({1, 2, 1, 16}, 10), value = random_tensor({1, 2, 1, 8}, 11);
    cache.append(more, value);
    const AttentionMap decode(attend(step, cache.snapshot(), c.spec).record);
    for (const int64_t query : {0ll, 255ll, 256ll, 299ll}) {
      const MapRow expected = plain.head(0, 3).row(query), row = paged.head(0, 3).row(query);
      EXPECT_EQ(row.scores(), expected.scores()) << query;
      for (size_t j = 0; j < 300; ++j)
        ASSERT_NEAR(row.weights()[j], expected.weights()[j], tolerance::kDecodeWeight * static_cast<double>(expected.weights()[j]));
    }
    const MapRow row = decode.head(0, 1).row(0);
    ASSERT_EQ(row.weights().size(), 301u);
    EXPECT_NEAR(std::accumulate(row.weights().begin(), row.weights().end(), 0.0), 1, tolerance::kRowSum);
    EXPECT_EQ(paged.shape().keys, 300);
  });
}

TEST(AttentionMap, ScoresOfADecodeStepEqualThePrefillRowBitForBit) {
  on_every_backend([] {
    const Case c{"prefill", {.heads = 6, .key_heads = 2, .queries = 517, .keys = 517, .d_k = 24}, {.topology = causal()}};
    const Made made = make(c);
    const AttentionMap prefill(made.attended.record);
    for (const int64_t query : {0ll, 1ll, 47ll, 48ll, 300ll, 516ll}) {
      const AttentionMap step(
          attend(made.q.slice(2, query, query + 1), made.k.slice(2, 0, query + 1), made.v.slice(2, 0, query + 1), c.spec).record);
      for (int64_t head = 0; head < 6; ++head) {
        const MapRow a = step.head(0, head).row(0), b = prefill.head(0, head).row(query);
        for (size_t j = 0; j <= static_cast<size_t>(query); ++j) {
          ASSERT_EQ(a.scores()[j], b.scores()[j]) << query << " " << j;
          ASSERT_NEAR(a.weights()[j], b.weights()[j], tolerance::kDecodeWeight * static_cast<double>(b.weights()[j]) + 1e-38)
              << query << " " << j;
        }
      }
    }
  });
}

TEST(AttentionMap, CancellationThrowsAndProgressEndsAtOne) {
  const Case c{"causal", {.queries = 700, .keys = 700}, {.topology = causal()}};
  const AttentionMap map(make(c).attended.record);
  std::atomic<bool> cancel{true};
  const LookOptions cancelled{.cancel = &cancel};
  const TileRequest tile{.queries = {0, 700}, .keys = {0, 700}, .cells = {8, 8}};
  EXPECT_EQ(code_of([&] { map.head(0, 0).tile(tile, cancelled); }), ErrorCode::kCancelled);
  EXPECT_EQ(code_of([&] { map.head(0, 0).tile({.queries = {0, 700}, .keys = {0, 700}}, cancelled); }), ErrorCode::kCancelled);
  EXPECT_EQ(code_of([&] { map.mass({0, 700}, {0, 700}, cancelled); }), ErrorCode::kCancelled);
  on_every_backend([&] { EXPECT_EQ(code_of([&] { map.reduce({entropy}, cancelled); }), ErrorCode::kCancelled); });
  set_threads(1);
  double last = 0;
  const LookOptions watched{.progress = [&](double fraction) {
    EXPECT_GE(fraction, last);
    last = fraction;
  }};
  map.head(0, 0).tile(tile, watched);
  EXPECT_EQ(last, 1);
  last = 0;
  map.mass({0, 700}, {0, 700}, watched);
  EXPECT_EQ(last, 1);
  on_every_backend([&] {
    last = 0;
    map.reduce({entropy}, watched);
    EXPECT_EQ(last, 1);
  });
  set_threads(2);
}

// Products of such counts would overflow, or abort the process for lack of memory.
TEST(AttentionMap, RequestsTooLargeForMemoryAreRefused) {
  const AttentionMap map(make(all_cases()[0]).attended.record);
  const int64_t most = std::numeric_limits<int64_t>::max();
  const auto refused = [&](const std::function<void(ReductionRequest&)>& change) {
    ReductionRequest request;
    change(request);
    return code_of([&] { map.reduce(request); });
  };
  EXPECT_EQ(refused([&](auto& request) { request.cells = {int64_t{1} << 40, 1}; }), ErrorCode::kBudget);
  EXPECT_EQ(refused([&](auto& request) { request.cells = {most, most}; }), ErrorCode::kBudget);
  EXPECT_EQ(refused([&](auto& request) { request.top_k = most / 2; }), ErrorCode::kBudget);
  EXPECT_EQ(refused([&](auto& request) { request.statistics = {Statistic::kOffsets}, request.offset_reach = most / 2; }),
            ErrorCode::kBudget);
  EXPECT_EQ(code_of([&] { map.head(0, 0).tile({.queries = {0, 1}, .keys = {0, 1}, .cells = {most, 2}}); }), ErrorCode::kBudget);
}

TEST(AttentionMap, SampledTilesAreMarkedInexactAndFillEveryCell) {
  const Case c{"full", {.queries = 200, .keys = 200}, {}};
  const MapHead head = AttentionMap(make(c).attended.record).head(0, 0);
  const Tile tile = head.tile({.queries = {0, 200}, .keys = {0, 200}, .cells = {30, 30}}, {.sampled_rows = 31});
  EXPECT_FALSE(tile.exact);
  for (int64_t i = 0; i < 900; ++i) EXPECT_GE(tile.max.data<float>()[i], 0) << i;
  EXPECT_TRUE(head.tile({.queries = {0, 200}, .keys = {0, 200}, .cells = {30, 30}}, {.sampled_rows = 200}).exact);
}

}  // namespace
}  // namespace clearhead
