// Sweeps of every backend and every case, compared with sums of the oracle's weights; their bits with other thread counts, batches and
// heads; and maps that use them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "backends/registry.h"
#include "base/parallel.h"
#include "cases.h"
#include "clearhead/map.h"
#include "compare.h"

namespace clearhead::conformance {
namespace {

constexpr double kHidden = -std::numeric_limits<double>::infinity();

// All rows of the last head of the last sequence.
const std::vector<Expected>& last_head_of(size_t index) {
  static std::map<size_t, std::vector<Expected>> cache;
  auto [at, fresh] = cache.try_emplace(index);
  if (fresh) at->second = expected_of_last_head(cases()[index], cases()[index].shape.queries);
  return at->second;
}

Looked looked_at(const Case& c, size_t index, const std::vector<int64_t>& queries, bool after = false) {
  Looked looked{.c = c, .after = after};
  for (const int64_t query : queries) looked.rows.push_back(&last_head_of(index)[static_cast<size_t>(query)]);
  return looked;
}

class Sweeps : public testing::TestWithParam<const Backend*> {
 protected:
  const Backend& backend_ = *GetParam();
  void TearDown() override {
    set_threads(2);
    choose_backend("");
  }
};

// The map of the last head: the last `count` floats of [.., count].
std::vector<double> last(const Tensor& tensor, size_t count) {
  const float* end = tensor.data<float>() + tensor.numel();
  return std::vector<double>(end - count, end);
}

// All rows, or every third row in every third case.
std::vector<int64_t> rows_of(const Case& c, size_t index) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < c.shape.queries; i += index % 3 == 0 && c.shape.queries > 3 ? 3 : 1) rows.push_back(i);
  return rows;
}

TEST_P(Sweeps, EveryStatisticIsTheSumOverTheOraclesWeights) {
  for (size_t index = 0; index < cases().size() && !HasFatalFailure(); ++index) {
    const Case& c = cases()[index];
    if (c.shape.queries == 0) continue;
    SCOPED_TRACE("case " + std::to_string(index) + ": " + c.name);
    const ReductionRequest request = every_statistic(c);
    const std::vector<int64_t> rows = rows_of(c, index);
    const AttentionRecord record = run(backend_, c).record;
    const bool after = index % 2 == 1;
    const ReductionResult result =
        backend_.sweep({.record = record, .request = request, .rows = rows, .grid = grid_over(record, request.cells), .after = after});
    Check check;
    check_sweep(looked_at(c, index, rows, after), request, result, check);
    ASSERT_FALSE(check.failed()) << check.what();
    ASSERT_GE(check.compared(), std::ssize(rows));
  }
}

// Accumulated in the forward, or swept afterwards if the driver cannot; asking for them changes nothing else.
TEST_P(Sweeps, EntropyAndDistanceFromTheForwardAgreeWithTheOracle) {
  for (size_t index = 0; index < cases().size() && !HasFatalFailure(); ++index) {
    const Case& c = cases()[index];
    SCOPED_TRACE("case " + std::to_string(index) + ": " + c.name);
    const Result plain = run(backend_, c), asked = run(backend_, c, /*asks=*/true);
    ASSERT_TRUE(same_bits(asked.out, plain.out)) << "out";
    ASSERT_TRUE(same_bits(asked.record.rows.m, plain.record.rows.m) && same_bits(asked.record.rows.l, plain.record.rows.l)) << "rows";
    if (c.shape.queries == 0) continue;
    std::vector<int64_t> all(static_cast<size_t>(c.shape.queries));
    std::iota(all.begin(), all.end(), 0);
    Check check;
    check_row_sums(looked_at(c, index, all), asked, check);
    ASSERT_FALSE(check.failed()) << check.what();
    ASSERT_EQ(check.compared(), 2 * c.shape.queries);
    if (index % 3 != 0) continue;
    set_threads(1 + static_cast<int>(index % 4));
    const Result other = run(backend_, c, /*asks=*/true);
    set_threads(2);
    ASSERT_TRUE(same_bits(other.entropy, asked.entropy) && same_bits(other.distance, asked.distance)) << "threads";
  }
}

// The expected order comes from the scores and weights that a weights query of the row returns, bit for bit.
void expect_top_of_row(const std::vector<float>& scores, const std::vector<float>& weights, const int32_t* keys, const float* found,
                       int64_t count) {
  std::vector<int32_t> order;
  for (size_t j = 0; j < scores.size(); ++j) {
    if (!std::isinf(scores[j])) order.push_back(static_cast<int32_t>(j));
  }
  const auto score = [&](int32_t key) { return scores[static_cast<size_t>(key)]; };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return score(a) > score(b); });
  for (int64_t place = 0; place < count; ++place) {
    const size_t at = static_cast<size_t>(place);
    ASSERT_EQ(keys[place], at < order.size() ? order[at] : -1) << "place " << place;
    ASSERT_EQ(found[place], at < order.size() ? weights[static_cast<size_t>(order[at])] : 0) << "place " << place;
  }
}

TEST_P(Sweeps, TheTopKeysOfEveryRowAreThoseOfItsScores) {
  for (size_t index = 0; index < cases().size() && !HasFatalFailure(); ++index) {
    const Case& c = cases()[index];
    if (c.shape.queries == 0) continue;
    SCOPED_TRACE("case " + std::to_string(index) + ": " + c.name);
    const std::vector<int64_t> rows = rows_of(c, index);
    const AttentionRecord record = run(backend_, c).record;
    ReductionRequest request;
    request.top_k = 1 + static_cast<int64_t>(index % 11);
    if (index % 2 == 0) request.statistics = {received};  // with other statistics, and alone
    const bool after = index % 4 == 1;
    const ReductionResult result = backend_.sweep({.record = record, .request = request, .rows = rows, .after = after});
    const int64_t batch = c.shape.batch - 1, head = c.shape.heads - 1, looked = static_cast<int64_t>(rows.size());
    std::vector<float> scores(static_cast<size_t>(c.shape.keys)), weights(scores.size());
    for (int64_t at = 0; at < looked && !HasFatalFailure(); ++at) {
      WeightsCall call{.record = record, .batch = batch, .head = head, .rows = &rows[static_cast<size_t>(at)], .row_count = 1};
      call.keys = {0, c.shape.keys};
      call.quantity = WeightsCall::Quantity::kScore2;
      call.out = scores.data();
      call.out_stride = c.shape.keys;
      backend_.weights(call);
      call.quantity = WeightsCall::Quantity::kWeight;
      call.after = after;
      call.out = weights.data();
      backend_.weights(call);
      const int64_t first = ((batch * c.shape.heads + head) * looked + at) * request.top_k;
      SCOPED_TRACE("row " + std::to_string(rows[static_cast<size_t>(at)]));
      expect_top_of_row(scores, weights, result.top_keys.data<int32_t>() + first, result.top_weights.data<float>() + first, request.top_k);
    }
  }
}

TEST_P(Sweeps, ThreadsAndHeadsAskedForChangeNoBits) {
  for (size_t index = 0; index < cases().size() && !HasFatalFailure(); index += 3) {
    const Case& c = cases()[index];
    if (c.shape.queries == 0 || c.shape.heads < 2) continue;
    SCOPED_TRACE("case " + std::to_string(index) + ": " + c.name);
    ReductionRequest request = every_statistic(c);
    const std::vector<int64_t> rows = rows_of(c, index);
    const AttentionRecord record = run(backend_, c).record;
    set_threads(1);
    const ReductionResult all =
        backend_.sweep({.record = record, .request = request, .rows = rows, .grid = grid_over(record, request.cells)});
    set_threads(2 + static_cast<int>(index % 3));
    request.heads = {c.shape.heads - 1, c.shape.heads};
    const ReductionResult one =
        backend_.sweep({.record = record, .request = request, .rows = rows, .grid = grid_over(record, request.cells)});
    const auto same = [&](const Tensor& whole, const Tensor& part, int axis) {
      return same_bits(whole.slice(axis, c.shape.heads - 1, c.shape.heads), part);
    };
    ASSERT_TRUE(same(all.entropy, one.entropy, 1) && same(all.distance, one.distance, 1)) << "per row";
    ASSERT_TRUE(same(all.received, one.received, 1) && same(all.offsets, one.offsets, 1)) << "per key and offset";
    ASSERT_TRUE(same(all.matches, one.matches, 2)) << "matches";
    ASSERT_TRUE(same(all.pooled_max, one.pooled_max, 1) && same(all.pooled_mean, one.pooled_mean, 1)) << "pooled";
  }
}

TEST_P(Sweeps, ARecordOfSomeRowsIndexesItsOperandsByQuery) {
  for (size_t index = 0; index < cases().size() && !HasFatalFailure(); index += 2) {
    const Case& c = cases()[index];
    if (c.shape.queries < 10) continue;
    SCOPED_TRACE("case " + std::to_string(index) + ": " + c.name);
    const AttentionRecord whole = run(backend_, c).record;
    const Range kept{c.shape.queries / 3, c.shape.queries - 2};
    AttentionRecord part = whole;  // as a trace keeps watched rows
    part.first_query = kept.begin;
    part.q = whole.q.slice(2, kept.begin, kept.end);
    part.rows = {.m = whole.rows.m.slice(2, kept.begin, kept.end).clone(), .l = whole.rows.l.slice(2, kept.begin, kept.end).clone()};
    const int64_t batch = c.shape.batch - 1, head = c.shape.heads - 1;
    ASSERT_TRUE(same_bits(look(backend_, part, batch, head, {0, 3}, {0, c.shape.keys}),
                          look(backend_, whole, batch, head, {kept.begin, kept.begin + 3}, {0, c.shape.keys})));
    const ReductionRequest request = every_statistic(c);
    const std::vector<int64_t> rows = {1, 4};
    const ReductionResult found =
        backend_.sweep({.record = part, .request = request, .rows = rows, .grid = grid_over(part, request.cells)});
    Check check;
    check_statistics_of_rows(looked_at(c, index, {kept.begin + 1, kept.begin + 4}), request, found, check);
    ASSERT_FALSE(check.failed()) << check.what();
  }
}

// The map over the backend in use: its rows, tiles, top-k and masses all come from the same weights.
TEST_P(Sweeps, RowsTilesTopKAndMassOfAMapAgreeWithTheOracle) {
  choose_backend(backend_.isa == InstructionSet::kReference ? "ref" : to_string(backend_.isa));
  for (size_t index = 1; index < cases().size() && !HasFatalFailure(); index += 5) {
    const Case& c = cases()[index];
    if (c.shape.queries == 0 || c.shape.keys == 0) continue;
    SCOPED_TRACE("case " + std::to_string(index) + ": " + c.name);
    const AttentionMap map(run(backend_, c).record);
    const MapHead head = map.head(c.shape.batch - 1, c.shape.heads - 1);
    const int64_t query = c.shape.queries - 1;
    const Expected& expected = last_head_of(index)[static_cast<size_t>(query)];
    const MapRow row = head.row(query);
    for (size_t j = 0; j < expected.row.weights.size(); ++j) {
      const double p = expected.row.weights[j];
      ASSERT_NEAR(static_cast<double>(row.weights()[j]), p, expected.bounds.weights[j]) << "key " << j;
      ASSERT_EQ(std::isinf(row.scores()[j]), expected.row.scores[j] == kHidden) << "key " << j;
    }
    const Tile tile = head.tile({.queries = {query, query + 1}, .keys = {0, c.shape.keys}});
    for (size_t j = 0; j < expected.row.weights.size(); ++j) {
      const float cell = tile.max.data<float>()[j];
      ASSERT_TRUE(expected.row.scores[j] == kHidden ? std::isnan(cell) : cell == row.weights()[j]) << "key " << j;
    }
    const auto top = row.top_k(3);
    ASSERT_EQ(std::ssize(top), std::min<int64_t>(3, expected.row.visible));
    for (size_t n = 1; n < top.size(); ++n)
      ASSERT_TRUE(top[n - 1].score > top[n].score || (top[n - 1].score == top[n].score && top[n - 1].key < top[n].key));
    set_threads(1 + static_cast<int>(index % 4));
    const double mass = static_cast<double>(last(map.mass({query, query + 1}, {0, c.shape.keys}), 1)[0]);
    ASSERT_NEAR(mass, expected.row.row_sum, expected.bounds.row_sum);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, Sweeps, testing::ValuesIn(runnable_backends()),
                         [](const auto& table) { return table_name(*table.param); });

}  // namespace
}  // namespace clearhead::conformance
