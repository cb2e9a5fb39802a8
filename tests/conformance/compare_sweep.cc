// Compares sweeps with sums over the oracle's weights.
#include <algorithm>
#include <limits>

#include "base/format.h"
#include "compare.h"
#include "tolerance.h"

namespace clearhead::conformance {
namespace {

constexpr double kHidden = -std::numeric_limits<double>::infinity();
constexpr int64_t kReach = 5;

// Tags from -1 to 3; -1 matches nothing.
Match some_match(const AttentionShape& shape) {
  Match match;
  for (int64_t i = 0; i < shape.queries; ++i) match.query_tags.push_back(static_cast<int32_t>(i * 7 % 5) - 1);
  for (int64_t j = 0; j < shape.keys; ++j) match.key_tags.push_back(static_cast<int32_t>(j * 3 % 5) - 1);
  return match;
}

// The expected result of a sweep over these rows for one head: sums over the oracle's weights.
struct Sums {
  std::vector<double> entropy, distance, received, offsets, matches[2], largest, sum, count;
};

int64_t cell_of(int64_t item, int64_t count, int64_t cells) {
  int64_t cell = 0;
  while (count * (cell + 1) / cells <= item) ++cell;
  return cell;
}

// −p ln p; with `of_errors`, the error of that which an error of p causes. Weights that are not probabilities do not count: those of linear
// attention may be negative or larger than one.
double surprise(double p, double error, bool of_errors, bool is_linear = false) {
  if (is_linear && (p < 0 || p > 1)) return of_errors ? error * (std::log(std::abs(p) + error + 1) + 1) : 0;
  if (of_errors) return error > 0 ? error * (std::abs(std::log(std::max(p, error))) + 1) : 0;
  return p > 0 ? -p * std::log(p) : 0;
}

// Adds the row's weights, or with `of_errors` the bounds on their errors.
void add_row(const Looked& looked, const Expected& e, const ReductionRequest& request, bool of_errors, Sums& sums) {
  const AttentionShape& shape = looked.c.shape;
  const int64_t query = e.query;
  const int64_t position =
      query + looked.c.spec.topology.band.offset + (looked.c.spec.topology.band.align == Align::kEnd ? shape.keys - shape.queries : 0);
  const OracleRow& row = e.row;
  double h = 0, d = 0, matched[2] = {};
  const bool is_linear = std::holds_alternative<LinearAttention>(looked.c.spec.normaliser);
  const Softmax* softmax = std::get_if<Softmax>(&looked.c.spec.normaliser);
  const double rest = softmax && softmax->sinks ? 1 - row.row_sum : 0;  // the sink's share of the row
  if (row.sees_any) h += surprise(rest, rest * tolerance::weight(row.largest), of_errors);
  for (int64_t j = 0; j < shape.keys; ++j) {
    const double factor = looked.after ? row.after[static_cast<size_t>(j)] : 1;
    const double weight = factor * row.weights[static_cast<size_t>(j)];
    double error = std::abs(factor) * e.bounds.weights[static_cast<size_t>(j)];
    if (looked.after) error += std::abs(weight) * tolerance::after(factor) + tolerance::kUnderflow;
    if (is_linear) error += 2 * tolerance::kSweep * std::abs(weight);  // summands cancel, and kSweep is relative to their magnitudes
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

Sums sums_of(const Looked& looked, const ReductionRequest& request, bool of_errors = false) {
  Sums sums;
  sums.received.assign(static_cast<size_t>(looked.c.shape.keys), 0);
  sums.offsets.assign(2 * kReach + 1, 0);
  const size_t cells = static_cast<size_t>(request.cells[0] * request.cells[1]);
  sums.largest.assign(cells, of_errors ? 0 : kHidden);
  sums.sum.assign(cells, 0);
  sums.count.assign(cells, 0);
  for (const Expected* e : looked.rows) add_row(looked, *e, request, of_errors, sums);
  return sums;
}

// The map of the last head: the last `count` floats of [.., count].
std::vector<double> last(const Tensor& tensor, size_t count) {
  const float* end = tensor.data<float>() + tensor.numel();
  return std::vector<double>(end - count, end);
}

// One statistic. The expected value is `expected` times `scale`; the bound is kSweep relative to |expected| + `offset`, plus the error that
// the weights' bounds allow.
struct Statistic {
  const char* what;
  double scale = 1, offset = 0;
};

void check_close(const Statistic& statistic, const std::vector<double>& found, const std::vector<double>& expected,
                 const std::vector<double>& errors, Check& check) {
  for (size_t i = 0; i < expected.size(); ++i) {
    const double bound = tolerance::kSweep * (std::abs(expected[i]) + statistic.offset) + errors[i];
    check(found[i], statistic.scale * expected[i], statistic.scale * bound + 1e-30,
          [&] { return format("{} {} of {}", statistic.what, i, expected.size()); });
  }
}

void check_two_sums(const Sums& sums, const Sums& errors, const std::vector<double>& entropy, const std::vector<double>& distance,
                    Check& check) {
  check_close({"entropy", 1, 2}, entropy, sums.entropy, errors.entropy, check);
  check_close({"distance"}, distance, sums.distance, errors.distance, check);
}

void check_per_row(const Sums& sums, const Sums& errors, const ReductionResult& result, Check& check) {
  const size_t rows = sums.entropy.size();
  check_two_sums(sums, errors, last(result.entropy, rows), last(result.distance, rows), check);
  check_close({"match 1"}, last(result.matches, rows), sums.matches[1], errors.matches[1], check);
  check_close({"match 0"}, last(result.matches.slice(0, 0, 1).contiguous(), rows), sums.matches[0], errors.matches[0], check);
}

}  // namespace

std::vector<int64_t> Looked::queries() const {
  std::vector<int64_t> queries;
  for (const Expected* e : rows) queries.push_back(e->query);
  return queries;
}

ReductionRequest every_statistic(const Case& c) {
  ReductionRequest request{entropy, received, distance, offsets};
  request.offset_reach = kReach;
  request.cells = {7, 9};
  request.matches = {
      some_match(c.shape),
      {std::vector<int32_t>(static_cast<size_t>(c.shape.queries), 1), std::vector<int32_t>(static_cast<size_t>(c.shape.keys), 1)}};
  return request;
}

void check_row_sums(const Looked& looked, const Result& result, Check& check) {
  const ReductionRequest request = every_statistic(looked.c);
  const size_t queries = static_cast<size_t>(looked.c.shape.queries);
  const auto of_rows = [&](const Tensor& tensor) {
    const std::vector<double> all = last(tensor, queries);
    std::vector<double> some;
    for (const Expected* e : looked.rows) some.push_back(all[static_cast<size_t>(e->query)]);
    return some;
  };
  check_two_sums(sums_of(looked, request), sums_of(looked, request, /*of_errors=*/true), of_rows(result.entropy), of_rows(result.distance),
                 check);
}

void check_statistics_of_rows(const Looked& looked, const ReductionRequest& request, const ReductionResult& result, Check& check) {
  check_per_row(sums_of(looked, request), sums_of(looked, request, /*of_errors=*/true), result, check);
}

void check_sweep(const Looked& looked, const ReductionRequest& request, const ReductionResult& result, Check& check) {
  const Sums sums = sums_of(looked, request), errors = sums_of(looked, request, /*of_errors=*/true);
  check_per_row(sums, errors, result, check);
  const double rows = static_cast<double>(looked.rows.size()), scale = rows > 0 ? static_cast<double>(looked.c.shape.queries) / rows : 0;
  check_close({"received", scale}, last(result.received, sums.received.size()), sums.received, errors.received, check);
  check_close({"offsets", scale}, last(result.offsets, sums.offsets.size()), sums.offsets, errors.offsets, check);
  const auto most = last(result.pooled_max, sums.largest.size()), mean = last(result.pooled_mean, sums.largest.size());
  for (size_t cell = 0; cell < most.size(); ++cell) {
    const bool is_empty = sums.count[cell] == 0;
    const double of_largest = tolerance::kSweep * std::abs(sums.largest[cell]) + errors.largest[cell];
    const double of_sum = tolerance::kSweep * std::abs(sums.sum[cell]) + errors.sum[cell];
    const double none = std::numeric_limits<double>::quiet_NaN();
    check(most[cell], is_empty ? none : sums.largest[cell], of_largest, [&] { return format("pooled maximum {}", cell); });
    check(mean[cell], is_empty ? none : sums.sum[cell] / sums.count[cell], is_empty ? 0 : of_sum / sums.count[cell],
          [&] { return format("pooled mean {}", cell); });
  }
}

}  // namespace clearhead::conformance
