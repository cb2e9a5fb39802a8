// Sweeps of every backend × every case against sums of the oracle's weights; their bits under threads, batch and heads; and maps on top of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "backends/oracle.h"
#include "backends/registry.h"
#include "base/parallel.h"
#include "bounds.h"
#include "cases.h"
#include "clearhead/map.h"
#include "tolerance.h"

namespace clearhead::conformance {
namespace {

constexpr double kHidden = -std::numeric_limits<double>::infinity();
constexpr int64_t kReach = 5;

struct Row : OracleRow {
  RowBounds bounds{};
};

// The last head of the last sequence, whole.
const std::vector<Row>& last_head_of(size_t index) {
  static std::map<size_t, std::vector<Row>> cache;
  auto [at, fresh] = cache.try_emplace(index);
  const Case& c = cases()[index];
  if (!fresh) return at->second;
  at->second.resize(static_cast<size_t>(c.shape.queries));
  parallel_for(c.shape.queries, [&, &rows = at->second](int64_t i, int) {
    OracleRow row = oracle_row(c.spec, c.q, c.keys, c.v, c.shape.batch - 1, c.shape.heads - 1, i);
    RowBounds bounds = bounds_of(c.spec, row, c.keys, c.v, c.shape.batch - 1, c.shape.key_heads - 1);
    rows[static_cast<size_t>(i)] = {std::move(row), std::move(bounds)};
  });
  return at->second;
}

// Tags from 0 to 3, and some that match nothing.
Match some_match(const AttentionShape& shape) {
  Match match;
  for (int64_t i = 0; i < shape.queries; ++i) match.query_tags.push_back(static_cast<int32_t>(i * 7 % 5) - 1);
  for (int64_t j = 0; j < shape.keys; ++j) match.key_tags.push_back(static_cast<int32_t>(j * 3 % 5) - 1);
  return match;
}

SweepRequest everything(const Case& c) {
  SweepRequest request{entropy, received, distance, offsets};
  request.offset_reach = kReach;
  request.cells = {7, 9};
  request.matches = {
      some_match(c.shape),
      {std::vector<int32_t>(static_cast<size_t>(c.shape.queries), 1), std::vector<int32_t>(static_cast<size_t>(c.shape.keys), 1)}};
  return request;
}

// What a sweep of these rows must give for one head: sums over the oracle's weights.
struct Sums {
  std::vector<double> entropy, distance, received, offsets, matches[2], largest, sum, count;
};

struct Where {
  const Case& c;
  const std::vector<Row>& head;
  const std::vector<int64_t>& rows;
  bool after = false;
};

int64_t cell_of(int64_t item, int64_t count, int64_t cells) {
  int64_t cell = 0;
  while (count * (cell + 1) / cells <= item) ++cell;
  return cell;
}

// p ln p; of an error of p, what it makes of that. Weights that are no shares do not count: linear ones may be negative or beyond one.
double surprise(double p, double error, bool of_errors, bool is_linear = false) {
  if (is_linear && (p < 0 || p > 1)) return of_errors ? error * (std::log(std::abs(p) + error + 1) + 1) : 0;
  if (of_errors) return error > 0 ? error * (std::abs(std::log(std::max(p, error))) + 1) : 0;
  return p > 0 ? -p * std::log(p) : 0;
}

// Adds the row's weights, or what they may be off by.
void add_row(const Where& where, const SweepRequest& request, int64_t query, bool of_errors, Sums& sums) {
  const AttentionShape& shape = where.c.shape;
  const int64_t position = query + (where.c.spec.topology.band.align == Align::kEnd ? shape.keys - shape.queries : 0);
  const Row& row = where.head[static_cast<size_t>(query)];
  double h = 0, d = 0, matched[2] = {};
  const bool is_linear = std::holds_alternative<Linear>(where.c.spec.normaliser);
  const Softmax* softmax = std::get_if<Softmax>(&where.c.spec.normaliser);
  const double rest = softmax && softmax->sinks ? 1 - row.row_sum : 0;  // the share of a sink logit
  if (row.sees_any) h += surprise(rest, rest * tolerance::weight(row.largest), of_errors);
  for (int64_t j = 0; j < shape.keys; ++j) {
    const double factor = where.after ? row.after[static_cast<size_t>(j)] : 1;
    const double weight = factor * row.weights[static_cast<size_t>(j)];
    double error = std::abs(factor) * row.bounds.weights[static_cast<size_t>(j)];
    if (where.after) error += std::abs(weight) * tolerance::after(factor) + tolerance::kUnderflow;
    if (is_linear) error += 2 * tolerance::kSweep * std::abs(weight);  // sums cancel: kSweep is of what is summed
    const double p = of_errors ? error : weight;
    if (row.scores[static_cast<size_t>(j)] == kHidden) continue;
    h += surprise(weight, error, of_errors, is_linear);
    d += p * static_cast<double>(std::abs(position - j));
    sums.received[static_cast<size_t>(j)] += p;
    sums.offsets[static_cast<size_t>(std::clamp(j - position, -kReach, kReach) + kReach)] += p;
    for (size_t m = 0; m < 2; ++m) {
      const int32_t tag = request.matches[m].query_tags[static_cast<size_t>(query)];
      if (tag >= 0 && j != position && tag == request.matches[m].key_tags[static_cast<size_t>(j)]) matched[m] += p;
    }
    const size_t cell =
        static_cast<size_t>(cell_of(query, shape.queries, request.cells[0]) * request.cells[1] + cell_of(j, shape.keys, request.cells[1]));
    sums.largest[cell] = std::max(sums.largest[cell], p);
    sums.sum[cell] += p;
    sums.count[cell] += 1;
  }
  sums.entropy.push_back(h);
  sums.distance.push_back(d);
  for (size_t m = 0; m < 2; ++m) sums.matches[m].push_back(matched[m]);
}

Sums sums_of(const Where& where, const SweepRequest& request, bool of_errors = false) {
  Sums sums;
  sums.received.assign(static_cast<size_t>(where.c.shape.keys), 0);
  sums.offsets.assign(2 * kReach + 1, 0);
  const size_t cells = static_cast<size_t>(request.cells[0] * request.cells[1]);
  sums.largest.assign(cells, of_errors ? 0 : kHidden);
  sums.sum.assign(cells, 0);
  sums.count.assign(cells, 0);
  for (const int64_t query : where.rows) add_row(where, request, query, of_errors, sums);
  return sums;
}

class Sweeps : public testing::TestWithParam<const Backend*> {
 protected:
  const Backend& backend_ = *GetParam();
  void TearDown() override {
    set_threads(2);
    choose_backend("");
  }
};

// The last map of a result: the last `count` floats of [.., count].
std::vector<double> last(const Tensor& tensor, size_t count) {
  const float* end = tensor.data<float>() + tensor.numel();
  return std::vector<double>(end - count, end);
}

void expect_close(const char* what, const std::vector<double>& found, const std::vector<double>& expected,
                  const std::vector<double>& errors, double scale = 1, double offset = 0) {
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(found[i], scale * expected[i], scale * (tolerance::kSweep * (std::abs(expected[i]) + offset) + errors[i]) + 1e-30)
        << what << " " << i << " of " << expected.size();
  }
}

void compare(const Where& where, const SweepRequest& request, const SweepResult& result) {
  const Sums sums = sums_of(where, request), errors = sums_of(where, request, /*of_errors=*/true);
  const size_t rows = where.rows.size();
  const double scale = rows ? static_cast<double>(where.c.shape.queries) / static_cast<double>(rows) : 0;
  expect_close("entropy", last(result.entropy, rows), sums.entropy, errors.entropy, 1, 2);
  expect_close("distance", last(result.distance, rows), sums.distance, errors.distance);
  expect_close("received", last(result.received, sums.received.size()), sums.received, errors.received, scale);
  expect_close("offsets", last(result.offsets, sums.offsets.size()), sums.offsets, errors.offsets, scale);
  expect_close("match 1", last(result.matches, rows), sums.matches[1], errors.matches[1]);
  expect_close("match 0", last(result.matches.slice(0, 0, 1).contiguous(), rows), sums.matches[0], errors.matches[0]);
  const auto most = last(result.pooled_max, sums.largest.size()), mean = last(result.pooled_mean, sums.largest.size());
  for (size_t cell = 0; cell < most.size(); ++cell) {
    if (sums.count[cell] == 0) {
      ASSERT_TRUE(std::isnan(most[cell]) && std::isnan(mean[cell])) << "cell " << cell << " sees nothing";
      continue;
    }
    ASSERT_NEAR(most[cell], sums.largest[cell], tolerance::kSweep * std::abs(sums.largest[cell]) + errors.largest[cell])
        << "pooled maximum " << cell;
    ASSERT_NEAR(mean[cell], sums.sum[cell] / sums.count[cell],
                (tolerance::kSweep * std::abs(sums.sum[cell]) + errors.sum[cell]) / sums.count[cell])
        << "pooled mean " << cell;
  }
}

// All rows, or every third where the case's number says so.
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
    const SweepRequest request = everything(c);
    const std::vector<int64_t> rows = rows_of(c, index);
    const AttentionRecord record = run(backend_, c).record;
    const bool after = index % 2 == 1;
    const SweepResult result =
        backend_.sweep({.record = record, .request = request, .rows = rows, .grid = grid_over(record, request.cells), .after = after});
    compare({c, last_head_of(index), rows, after}, request, result);
  }
}

// By the scores and weights that a look at the row gives, bit for bit.
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
    SweepRequest request;
    request.top_k = 1 + static_cast<int64_t>(index % 11);
    if (index % 2 == 0) request.statistics = {received};  // beside other statistics, and alone
    const bool after = index % 4 == 1;
    const SweepResult result = backend_.sweep({.record = record, .request = request, .rows = rows, .after = after});
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
    SweepRequest request = everything(c);
    const std::vector<int64_t> rows = rows_of(c, index);
    const AttentionRecord record = run(backend_, c).record;
    set_threads(1);
    const SweepResult all = backend_.sweep({.record = record, .request = request, .rows = rows, .grid = grid_over(record, request.cells)});
    set_threads(2 + static_cast<int>(index % 3));
    request.heads = {c.shape.heads - 1, c.shape.heads};
    const SweepResult one = backend_.sweep({.record = record, .request = request, .rows = rows, .grid = grid_over(record, request.cells)});
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
    const SweepRequest request = everything(c);
    const std::vector<int64_t> rows = {1, 4};
    const SweepResult found = backend_.sweep({.record = part, .request = request, .rows = rows, .grid = grid_over(part, request.cells)});
    const std::vector<int64_t> queries = {kept.begin + 1, kept.begin + 4};
    const Where where{c, last_head_of(index), queries};
    const Sums sums = sums_of(where, request), errors = sums_of(where, request, /*of_errors=*/true);
    expect_close("entropy", last(found.entropy, 2), sums.entropy, errors.entropy, 1, 2);
    expect_close("distance", last(found.distance, 2), sums.distance, errors.distance);
    expect_close("match 0", last(found.matches.slice(0, 0, 1).contiguous(), 2), sums.matches[0], errors.matches[0]);
  }
}

// The map over the backend in use: its rows, tiles, top-k and masses are one and the same set of weights.
TEST_P(Sweeps, MapsShowTheOraclesWeightsByEveryLook) {
  choose_backend(backend_.isa == InstructionSet::kReference ? "ref" : to_string(backend_.isa));
  for (size_t index = 1; index < cases().size() && !HasFatalFailure(); index += 5) {
    const Case& c = cases()[index];
    if (c.shape.queries == 0 || c.shape.keys == 0) continue;
    SCOPED_TRACE("case " + std::to_string(index) + ": " + c.name);
    const AttentionMap map(run(backend_, c).record);
    const MapHead head = map.head(c.shape.batch - 1, c.shape.heads - 1);
    const int64_t query = c.shape.queries - 1;
    const Row& expected = last_head_of(index)[static_cast<size_t>(query)];
    const MapRow row = head.row(query);
    for (size_t j = 0; j < expected.weights.size(); ++j) {
      const double p = expected.weights[j];
      ASSERT_NEAR(static_cast<double>(row.weights()[j]), p, expected.bounds.weights[j]) << "key " << j;
      ASSERT_EQ(std::isinf(row.scores()[j]), expected.scores[j] == kHidden) << "key " << j;
    }
    const Tile tile = head.tile({.queries = {query, query + 1}, .keys = {0, c.shape.keys}});
    for (size_t j = 0; j < expected.weights.size(); ++j) {
      const float cell = tile.max.data<float>()[j];
      ASSERT_TRUE(expected.scores[j] == kHidden ? std::isnan(cell) : cell == row.weights()[j]) << "key " << j;
    }
    const auto top = row.top_k(3);
    for (size_t n = 1; n < top.size(); ++n)
      ASSERT_TRUE(top[n - 1].score > top[n].score || (top[n - 1].score == top[n].score && top[n - 1].key < top[n].key));
    set_threads(1 + static_cast<int>(index % 4));
    const double mass = static_cast<double>(last(map.mass({query, query + 1}, {0, c.shape.keys}), 1)[0]);
    ASSERT_NEAR(mass, expected.row_sum, expected.bounds.row_sum);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, Sweeps, testing::ValuesIn(runnable_backends()),
                         [](const auto& table) { return table_name(*table.param); });

}  // namespace
}  // namespace clearhead::conformance
