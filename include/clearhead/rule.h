// Implemented in src/spec.
// Custom score terms and visibility rules (FlexAttention's score_mod and mask_mod): a lambda, called once with symbols,
// whose expression is kept as data.
//
//   clearhead::rule([](auto s, auto at) { return s - 0.1f * (at.query - at.key); })      the new score of a pair
//   clearhead::visible([](auto at) { return at.key <= at.query; })                       which pairs are visible
//
// The inputs of the recorded expression are score, batch, head, query and key. Its nodes are in topological order and
// the last one is the result. Because the expression is data, every backend can run it, JSON and traces store it, and a
// visibility rule can be bounded over a block of pairs (all, none or some visible). `at.query` is the query's position
// among the keys (p_i of ALiBi), so a rule means the same in a prefill and in a decode step.
//
// Kernels compute in f32, in which positions up to 2^24 are exact; calls with more queries or keys are refused. Where
// rounding decides, a comparison of a score or the floor of a non-integer can go either way. A result of −∞ hides the
// pair. A pair that is already hidden stays hidden, whatever the rule returns.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "clearhead/tensor.h"

namespace clearhead {

/// The operation of a node. A truth value is 1 or 0. In JSON the names have no k: "less_equal" (docs/spec.md).
// clang-format off
enum class RuleOp : uint8_t {
  kConstant, kScore, kBatch, kHead, kQuery, kKey,         // leaves
  kNegate, kAbs, kExp, kLog, kTanh, kSqrt, kFloor, kNot,  // of one argument
  kAdd, kSubtract, kMultiply, kDivide, kMin, kMax,        // of two numbers
  kLess, kLessEqual, kEqual, kNotEqual, kAnd, kOr,        // of two numbers or two truth values; gives a truth value
  kWhere,                                                 // (truth value, number if true, number if false)
  kTable                                                  // 1 to 4 indices, as many as the table has axes
};
// clang-format on

/// One operation on earlier nodes.
struct RuleNode {
  RuleOp op = RuleOp::kConstant;
  float value = 0;                                   ///< kConstant; never NaN
  int32_t table = -1;                                ///< kTable: index into Rule::tables
  std::array<int32_t, 4> arguments{-1, -1, -1, -1};  ///< indices of earlier nodes; −1: unused
};

/// A recorded expression. Its tables are operands of the description ("rule.table", "rule.table2", …). f32 tables are
/// parameters and have gradients.
struct Rule {
  std::vector<RuleNode> nodes{};  ///< in topological order; the last is the result
  std::vector<Tensor> tables{};   ///< f32 or i32, 1 to 4 axes, none empty; in order of first use
};

class RuleTruth;
/// A symbolic number inside a rule's lambda: an input, a constant, or an expression of these. Using it outside the
/// lambda throws kInvalidArgument.
class RuleValue {
 public:
  template <class T>
  requires std::integral<T> || std::floating_point<T> RuleValue(T constant) : constant_(static_cast<float>(constant)) {}

  friend RuleValue operator-(RuleValue x) { return make(RuleOp::kNegate, {x}); }
  friend RuleValue operator+(RuleValue a, RuleValue b) { return make(RuleOp::kAdd, {a, b}); }
  friend RuleValue operator-(RuleValue a, RuleValue b) { return make(RuleOp::kSubtract, {a, b}); }
  friend RuleValue operator*(RuleValue a, RuleValue b) { return make(RuleOp::kMultiply, {a, b}); }
  friend RuleValue operator/(RuleValue a, RuleValue b) { return make(RuleOp::kDivide, {a, b}); }
  friend RuleValue min(RuleValue a, RuleValue b) { return make(RuleOp::kMin, {a, b}); }
  friend RuleValue max(RuleValue a, RuleValue b) { return make(RuleOp::kMax, {a, b}); }
  friend RuleValue abs(RuleValue x) { return make(RuleOp::kAbs, {x}); }
  friend RuleValue exp(RuleValue x) { return make(RuleOp::kExp, {x}); }
  friend RuleValue log(RuleValue x) { return make(RuleOp::kLog, {x}); }
  friend RuleValue tanh(RuleValue x) { return make(RuleOp::kTanh, {x}); }
  friend RuleValue sqrt(RuleValue x) { return make(RuleOp::kSqrt, {x}); }
  friend RuleValue floor(RuleValue x) { return make(RuleOp::kFloor, {x}); }

 private:
  friend RuleValue where(RuleTruth condition, RuleValue yes, RuleValue no);
  friend class RuleTruth;
  friend class RuleTable;
  friend struct RuleRecorder;
  RuleValue() = default;
  static RuleValue make(RuleOp op, std::initializer_list<RuleValue> arguments, int32_t table = -1);

  uint64_t recording_ = 0;  // 0: a constant
  int32_t node_ = -1;
  float constant_ = 0;
};

/// A symbolic truth value inside a rule's lambda: a comparison, or an expression of comparisons. `where(condition, a, b)`
/// converts it to a number.
class RuleTruth {
 public:
  RuleTruth(bool constant) : value_(constant ? 1 : 0) {}

  friend RuleTruth operator!(RuleTruth x) { return of(RuleOp::kNot, {x.value_}); }
  friend RuleTruth operator&&(RuleTruth a, RuleTruth b) { return of(RuleOp::kAnd, {a.value_, b.value_}); }
  friend RuleTruth operator||(RuleTruth a, RuleTruth b) { return of(RuleOp::kOr, {a.value_, b.value_}); }

 private:
  friend struct RuleRecorder;
  friend RuleTruth operator<(RuleValue a, RuleValue b);
  friend RuleTruth operator<=(RuleValue a, RuleValue b);
  friend RuleTruth operator>(RuleValue a, RuleValue b);
  friend RuleTruth operator>=(RuleValue a, RuleValue b);
  friend RuleTruth operator==(RuleValue a, RuleValue b);
  friend RuleTruth operator!=(RuleValue a, RuleValue b);
  friend RuleValue where(RuleTruth condition, RuleValue yes, RuleValue no);
  static RuleTruth of(RuleOp op, std::initializer_list<RuleValue> arguments);

  RuleValue value_;
};
RuleTruth operator<(RuleValue a, RuleValue b);
RuleTruth operator<=(RuleValue a, RuleValue b);
RuleTruth operator>(RuleValue a, RuleValue b);
RuleTruth operator>=(RuleValue a, RuleValue b);
RuleTruth operator==(RuleValue a, RuleValue b);
RuleTruth operator!=(RuleValue a, RuleValue b);
/// `yes` if the condition is true, otherwise `no`.
RuleValue where(RuleTruth condition, RuleValue yes, RuleValue no);

/// A tensor that rules can index: t(at.head), t(at.head, bucket). An index is floored, then clamped to the axis (like
/// the clip of Shaw et al. 2018, eq. 4–5); a NaN index is 0. i32 entries are converted to f32. Rules that share a
/// RuleTable share one tensor.
class RuleTable {
 public:
  explicit RuleTable(Tensor values);
  template <class... Indices>
  RuleValue operator()(Indices... indices) const {
    static_assert(sizeof...(Indices) >= 1 && sizeof...(Indices) <= 4, "a table has 1 to 4 indices");
    return look_up({RuleValue(indices)...});
  }

 private:
  RuleValue look_up(std::initializer_list<RuleValue> indices) const;
  std::shared_ptr<const Tensor> values_;
};
/// values: f32 or i32, 1 to 4 axes. Throws kShape otherwise.
RuleTable table(Tensor values);

/// The pair that a rule is evaluated for. query: the query's position among the keys; batch, head, key: indices.
struct RulePair {
  RuleValue batch, head, query, key;
};

/// Records a score term. `body` returns the new score of a pair from its score (in natural units, after all previous
/// terms); it is called once.
Rule rule(const std::function<RuleValue(RuleValue score, RulePair at)>& body);
/// Records a visibility rule for Topology::visible.
Rule visible(const std::function<RuleTruth(RulePair at)>& body);

// --- rules from the literature: score terms ---

/// s + w[bucket(j − p_i), head] (Raffel et al. 2020, §2.1). weights: f32 [bucket, head], as T5 stores them.
///
/// Buckets follow the paper's reference code: half of them contain one distance each, the others grow logarithmically up
/// to max_distance, and all larger distances share the last bucket. `bidirectional` divides the buckets between keys
/// before and keys after the query. T5 does not scale q·k: use Dot{1}.
Rule t5_bias(Tensor weights, bool bidirectional, int64_t max_distance = 128);
/// s / t (Hinton et al. 2015, eq. 1). t > 0 and finite (kInvalidArgument).
Rule temperature(float t);
/// s / t_head. temperatures: f32 [head], learned or given.
Rule temperature(Tensor temperatures);
/// s − slope_head·‖(row, column)_i − (row, column)_j‖₂ for an image of this width, read row by row (two-dimensional
/// ALiBi; Fuller et al. 2023, §3). slopes: f32 [head].
Rule alibi_2d(Tensor slopes, int64_t width);
/// s + B[head, row_i − row_j + height − 1, column_i − column_j + width − 1] (Liu et al. 2021, eq. 4).
/// table: f32 [head, 2·height − 1, 2·width − 1].
Rule relative_2d(Tensor table, int64_t height, int64_t width);

// --- rules from the literature: visibility ---

/// Dilated sliding window: the query's own key and `back` keys before it, `step` apart, are visible (Beltagy et al. 2020,
/// §3.1).
Rule dilated(int64_t step, int64_t back);
/// The first `prefix` keys, the query's own key and all keys before it are visible (Raffel et al. 2020, §3.2.1).
Rule prefix_lm(int64_t prefix);
/// The same with one prefix per sequence: i32 [batch].
Rule prefix_lm(Tensor prefixes);
/// The query's own key, the `stride` keys before it, and every stride-th key before that are visible: the union of both
/// heads of the strided pattern (Child et al. 2019, §4.3).
Rule strided(int64_t stride);
/// Causal. The keys in the query's own block of `stride` keys and the last `summary` keys of every block are visible (the
/// fixed pattern of Child et al. 2019, §4.3).
Rule fixed(int64_t stride, int64_t summary);
/// `side` keys on either side are visible. Global positions see all keys and are visible to all queries (Beltagy et al.
/// 2020, §3.1). global: i32 [key], nonzero for global positions.
Rule longformer(int64_t side, Tensor global);

}  // namespace clearhead
