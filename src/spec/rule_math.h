// What a rule means: its operations as numbers, its value at one pair, and the derivative of that value.
//
//   value(pair)       nodes in order, in double; comparisons give 1 or 0, and a NaN compares false (≠ true)
//   magnitude(pair)   Σ over operations of |result| times how far its rounding reaches the end: an f32 evaluation errs by a few ε of it
//   reverse(pair, u)  u·∂value/∂score, and u·∂value/∂entry for every f32 table entry that was read; sizes are the same sums over absolute values
//
// min, max and abs pass the gradient to what they chose (ties: the second, the first), floor and comparisons pass none.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "clearhead/rule.h"

namespace clearhead {

struct RuleOpFacts {
  const char* name;  // as JSON spells it
  int arguments;     // −1: as many as its table has axes
  bool takes_truth;  // of kWhere only the first argument is one
  bool gives_truth;
};
const RuleOpFacts& facts_of(RuleOp op);
inline constexpr int kRuleOps = static_cast<int>(RuleOp::kTable) + 1;
int argument_count(const Rule& rule, const RuleNode& node);

/// The operation on numbers, for all but leaves and kTable.
double apply(RuleOp op, const double* arguments);
/// Where in its axis an index falls: floored, clamped, NaN → 0.
int64_t table_index(double index, int64_t size);
/// The entry that the indices name: its value, and its row-major index.
double table_value(const Tensor& table, const double* indices);
int64_t table_row_major(const Tensor& table, const double* indices);

/// A pair as numbers.
struct RulePoint {
  double score = 0;
  int64_t batch = 0, head = 0, query = 0, key = 0;  // query: its position among the keys
};

struct RuleGradient {
  double value = 0, size = 0;
};

/// A rule that is asked about many pairs. Not for two threads at once.
class RuleReader {
 public:
  explicit RuleReader(const Rule& rule) : rule_(&rule), values_(rule.nodes.size()), sizes_(rule.nodes.size()) {}
  double value(const RulePoint& at);
  /// Of the point last asked for, the score's own magnitude given.
  double magnitude(double score_magnitude);
  /// Returns u·∂value/∂score at the point last asked for; `entry` takes those of the entries of f32 tables, by their row-major index.
  RuleGradient reverse(RuleGradient upstream, const std::function<void(int32_t table, int64_t index, RuleGradient gradient)>& entry);
  /// The same, given an upstream for every node.
  RuleGradient reverse(std::vector<RuleGradient> upstream,
                       const std::function<void(int32_t table, int64_t index, RuleGradient gradient)>& entry);
  /// What a node was at the point last asked for.
  double node(size_t index) const { return values_[index]; }

 private:
  double argument(const RuleNode& node, size_t i) const { return values_[static_cast<size_t>(node.arguments[i])]; }
  const Rule* rule_;
  std::vector<double> values_, sizes_;
  std::vector<RuleGradient> upstream_;
};

/// Throws kInvalidArgument or kShape, saying what and where, unless the rule is well formed. `where` is its operand prefix: "rule", "rule2", "visible".
void validate_rule(const Rule& rule, bool is_visibility, const std::string& where);

/// What the last node needs, depth first and arguments from left to right (a compiler may record them in any order); tables in the order of first use.
Rule canonical(const Rule& rule);

}  // namespace clearhead
