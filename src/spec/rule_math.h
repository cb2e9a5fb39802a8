// The meaning of a rule: its operations on numbers, its value at one pair, and the derivative of that value.
//
//   value(pair)       nodes in order, in double; comparisons give 1 or 0, and with NaN they are false (≠ is true)
//   magnitude(pair)   the size of an f32 evaluation's error, in units of ε: Σ over operations of |result| times the
//                     derivative of the rule's value with respect to that result
//   reverse(pair, u)  u·∂value/∂score, and u·∂value/∂entry for every f32 table entry that was read; sizes are the same
//                     sums over absolute values
//
// min, max and abs pass the gradient to the argument they chose. On ties min and max choose the second; abs at 0 has
// slope 1. floor and comparisons pass no gradient.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "clearhead/rule.h"

namespace clearhead {

struct RuleOpFacts {
  const char* name;  // in JSON
  int arguments;     // −1: one per axis of its table
  bool takes_truth;  // kWhere: the first argument only
  bool gives_truth;
};
const RuleOpFacts& facts_of(RuleOp op);
inline constexpr int kRuleOps = static_cast<int>(RuleOp::kTable) + 1;
int argument_count(const Rule& rule, const RuleNode& node);

/// The operation on numbers, for all nodes except inputs and kTable.
double apply(RuleOp op, const double* arguments);
/// Converts an index to a position on an axis: floored, then clamped to [0, size); NaN gives 0.
int64_t table_index(double index, int64_t size);
/// The table entry at these indices: its value, and its row-major index.
double table_value(const Tensor& table, const double* indices);
int64_t table_row_major(const Tensor& table, const double* indices);

/// The inputs of a rule at one pair, as numbers.
struct RulePoint {
  double score = 0;
  int64_t batch = 0, head = 0, query = 0, key = 0;  // query: position among the keys
};

struct RuleGradient {
  double value = 0, size = 0;
};

/// Evaluates one rule at many pairs. Use it from one thread at a time.
class RuleReader {
 public:
  explicit RuleReader(const Rule& rule) : rule_(&rule), values_(rule.nodes.size()), sizes_(rule.nodes.size()) {}
  double value(const RulePoint& at);
  /// Magnitude at the last point, given that of the score.
  double magnitude(double score_magnitude);
  /// Returns u·∂value/∂score at the last point. `entry` receives the gradients of f32 table entries by row-major index.
  RuleGradient reverse(RuleGradient upstream, const std::function<void(int32_t table, int64_t index, RuleGradient gradient)>& entry);
  /// The same, with an upstream gradient for every node.
  RuleGradient reverse(std::vector<RuleGradient> upstream,
                       const std::function<void(int32_t table, int64_t index, RuleGradient gradient)>& entry);
  /// The value of a node at the last point.
  double node(size_t index) const { return values_[index]; }

 private:
  double argument(const RuleNode& node, size_t i) const { return values_[static_cast<size_t>(node.arguments[i])]; }
  const Rule* rule_;
  std::vector<double> values_, sizes_;
  std::vector<RuleGradient> upstream_;
};

/// Throws kInvalidArgument or kShape, with the place and the reason, unless the rule is well formed. `where` is its
/// operand prefix: "rule", "rule2", "visible".
void validate_rule(const Rule& rule, bool is_visibility, const std::string& where);

/// The rule in a canonical order: only nodes that the last node needs, depth first, arguments from left to right; tables in
/// order of first use. The recorded order would depend on the compiler, because C++ does not specify the order in which the
/// subexpressions of a lambda are evaluated.
Rule canonical(const Rule& rule);

}  // namespace clearhead
