// Holds what a table gives for a case against the double oracle, within the bounds of bounds.h and tolerance.h. A Check keeps the first thing that is off.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "backends/oracle.h"
#include "backends/ref/backward.h"
#include "bounds.h"
#include "cases.h"

namespace clearhead::conformance {

/// The first value that breaks its bound.
class Check {
 public:
  /// place() becomes text only where the value is wrong. A NaN is, unless both are.
  template <class Place>
  void operator()(double found, double wanted, double bound, const Place& place) {
    ++compared_;
    if (failed() || std::abs(found - wanted) <= bound || (std::isnan(found) && std::isnan(wanted))) return;
    note(found, wanted, bound, place());
  }
  bool failed() const { return !what_.empty(); }
  const std::string& what() const { return what_; }  ///< a sentence; empty where nothing is off
  int64_t compared() const { return compared_; }

 private:
  void note(double found, double wanted, double bound, const std::string& place);
  std::string what_{};
  int64_t compared_ = 0;
};

/// What a row must be.
struct Expected {
  int64_t batch = 0, head = 0, query = 0;
  OracleRow row{};
  RowBounds bounds{};
};
/// Of at most so many rows of the case, evenly spaced, the first and the last among them.
std::vector<Expected> expected_rows(const Case& c, int64_t most);
/// The same of the last head of the last sequence.
std::vector<Expected> expected_of_last_head(const Case& c, int64_t most);

/// out, m and ℓ.
void check_forward(const Backend& backend, const Case& c, const Result& result, const std::vector<Expected>& expected, Check& check);
/// Weights, scores, NaN where hidden, and row sums. Neighbours of `expected` may share a head.
void check_weights(const Backend& backend, const AttentionRecord& record, const std::vector<Expected>& expected, Check& check);
/// Weights after against those before; returns how many were compared, and how many of them `after` dropped.
struct AfterCount {
  int compared = 0, dropped = 0;
};
AfterCount check_after(const Backend& backend, const AttentionRecord& record, const std::vector<Expected>& expected, Check& check);

/// Rows of one head, as a sweep looks at them.
struct Looked {
  const Case& c;
  std::vector<const Expected*> rows{};
  bool after = false;
  std::vector<int64_t> queries() const;
};
/// Every statistic, cells, and two matches.
ReductionRequest every_statistic(const Case& c);
/// What a sweep of these rows gives for their head, the last of those it was asked for.
void check_sweep(const Looked& looked, const ReductionRequest& request, const ReductionResult& result, Check& check);
/// Those that a forward gave beside its output, [batch, head, query]: the same of them as a sweep's.
void check_row_sums(const Looked& looked, const Result& result, Check& check);
/// Entropy, distance and matches alone: of a record that keeps some of the rows.
void check_statistics_of_rows(const Looked& looked, const ReductionRequest& request, const ReductionResult& result, Check& check);

/// A random d_out, in strides of its own.
Tensor upstream_of(const Case& c, uint32_t seed);
/// As many numbers for the rows' log-sum-exp, from the same; undefined where the normaliser has none.   [batch, head, query]
Tensor upstream_of_log_sum_exp(const Case& c, const Tensor& d_out);
reference::Gradients expected_gradients(const Case& c, const Tensor& d_out);
void check_gradients(const Backend& backend, const Case& c, const Tensor& d_out, const reference::Gradients& expected, Check& check);

}  // namespace clearhead::conformance
