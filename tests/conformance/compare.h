// Compares a backend's results for a case with the double oracle, within the bounds of bounds.h and tolerance.h. A Check records the first
// value outside its bound.
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

/// Records the first value that is outside its bound.
class Check {
 public:
  /// place() is only called for a wrong value, to describe where it is. NaN is wrong unless both values are NaN.
  template <class Place>
  void operator()(double found, double wanted, double bound, const Place& place) {
    ++compared_;
    if (failed() || std::abs(found - wanted) <= bound || (std::isnan(found) && std::isnan(wanted))) return;
    note(found, wanted, bound, place());
  }
  bool failed() const { return !what_.empty(); }
  const std::string& what() const { return what_; }  ///< a sentence; empty if every value is within its bound
  int64_t compared() const { return compared_; }

 private:
  void note(double found, double wanted, double bound, const std::string& place);
  std::string what_{};
  int64_t compared_ = 0;
};

/// The expected results for one row.
struct Expected {
  int64_t batch = 0, head = 0, query = 0;
  OracleRow row{};
  RowBounds bounds{};
};
/// At most `most` rows of the case, evenly spaced, including the first and the last.
std::vector<Expected> expected_rows(const Case& c, int64_t most);
/// The same for the last head of the last sequence.
std::vector<Expected> expected_of_last_head(const Case& c, int64_t most);

/// Checks out, m and ℓ.
void check_forward(const Backend& backend, const Case& c, const Result& result, const std::vector<Expected>& expected, Check& check);
/// Checks weights, scores, NaN at hidden keys, and row sums. Consecutive entries of `expected` may belong to the same head.
void check_weights(const Backend& backend, const AttentionRecord& record, const std::vector<Expected>& expected, Check& check);
/// Checks the weights with the `after` steps (dropout, head mask, Gaussian) against the weights before them. Returns how many weights were
/// compared, and how many of them `after` dropped.
struct AfterCount {
  int compared = 0, dropped = 0;
};
AfterCount check_after(const Backend& backend, const AttentionRecord& record, const std::vector<Expected>& expected, Check& check);

/// The rows of one head that a sweep covers.
struct Looked {
  const Case& c;
  std::vector<const Expected*> rows{};
  bool after = false;
  std::vector<int64_t> queries() const;
};
/// Requests every statistic, cells, and two matches.
ReductionRequest every_statistic(const Case& c);
/// Checks the result of a sweep over these rows for their head, which is the last of the requested heads.
void check_sweep(const Looked& looked, const ReductionRequest& request, const ReductionResult& result, Check& check);
/// Checks the entropy and distance that a forward returned with its output, [batch, head, query], against the sums that a sweep must give.
void check_row_sums(const Looked& looked, const Result& result, Check& check);
/// Checks entropy, distance and matches only, for a record that holds only some of the rows.
void check_statistics_of_rows(const Looked& looked, const ReductionRequest& request, const ReductionResult& result, Check& check);

/// A random d_out that is not contiguous.
Tensor upstream_of(const Case& c, uint32_t seed);
/// The upstream gradient of the rows' log-sum-exp, derived from d_out; undefined if the normaliser has none.   [batch, head, query]
Tensor upstream_of_log_sum_exp(const Case& c, const Tensor& d_out);
reference::Gradients expected_gradients(const Case& c, const Tensor& d_out);
void check_gradients(const Backend& backend, const Case& c, const Tensor& d_out, const reference::Gradients& expected, Check& check);

}  // namespace clearhead::conformance
