// Records rules. The lambda of a rule runs once, with symbols; every operation on them appends a node to this thread's
// recording.
//
// Equal nodes (same operation, same arguments) are stored once. Operations on constants are evaluated while recording.
// Nodes that the result does not need are dropped.
#include "clearhead/rule.h"

#include <atomic>
#include <bit>
#include <map>
#include <tuple>

#include "base/format.h"
#include "spec/rule_math.h"

namespace clearhead {
namespace {

using NodeKey = std::tuple<RuleOp, uint32_t, int32_t, std::array<int32_t, 4>>;

NodeKey key_of(const RuleNode& node) { return {node.op, std::bit_cast<uint32_t>(node.value), node.table, node.arguments}; }

}  // namespace

// The recording in progress on this thread. Recordings may be nested.
struct RuleRecorder {
  uint64_t id = 0;
  Rule rule{};
  std::vector<std::shared_ptr<const Tensor>> tables{};
  std::map<NodeKey, int32_t> seen{};
  RuleRecorder* outer = nullptr;

  static RuleRecorder*& current() {
    thread_local RuleRecorder* recorder = nullptr;
    return recorder;
  }
  RuleRecorder() : outer(current()) {
    static std::atomic<uint64_t> last{0};
    id = ++last;
    current() = this;
  }
  RuleRecorder(const RuleRecorder&) = delete;
  RuleRecorder& operator=(const RuleRecorder&) = delete;
  ~RuleRecorder() { current() = outer; }

  int32_t add(const RuleNode& node) {
    const auto [at, fresh] = seen.try_emplace(key_of(node), static_cast<int32_t>(rule.nodes.size()));
    if (fresh) rule.nodes.push_back(node);
    return at->second;
  }
  int32_t node_of(const RuleValue& value) {
    if (value.recording_ == 0) {
      RuleNode node;
      node.value = value.constant_;
      return add(node);
    }
    if (value.recording_ != id) {
      fail(ErrorCode::kInvalidArgument,
           "rule: a value of another recording was used; a score, a pair and values computed from them are valid inside one lambda only");
    }
    return value.node_;
  }
  RuleValue leaf(RuleOp op) {
    RuleNode node;
    node.op = op;
    RuleValue value;
    value.recording_ = id;
    value.node_ = add(node);
    return value;
  }
  int32_t index_of(const std::shared_ptr<const Tensor>& table) {
    for (size_t i = 0; i < tables.size(); ++i) {
      if (tables[i] == table) return static_cast<int32_t>(i);
    }
    tables.push_back(table);
    rule.tables.push_back(*table);
    return static_cast<int32_t>(tables.size()) - 1;
  }
  // Makes `result` the last node. Nodes that it does not need are dropped.
  Rule finish(const RuleValue& result) {
    rule.nodes.resize(static_cast<size_t>(std::max(node_of(result), 0)) + 1);
    return canonical(rule);
  }
  static const RuleValue& number_of(const RuleTruth& truth) { return truth.value_; }
};

RuleValue RuleValue::make(RuleOp op, std::initializer_list<RuleValue> arguments, int32_t table) {
  bool constant = table < 0;
  for (const RuleValue& argument : arguments) constant = constant && argument.recording_ == 0;
  if (constant) {
    double numbers[4] = {};
    size_t count = 0;
    for (const RuleValue& argument : arguments) numbers[count++] = static_cast<double>(argument.constant_);
    return RuleValue(apply(op, numbers));
  }
  RuleRecorder* recorder = RuleRecorder::current();
  if (!recorder) {
    fail(ErrorCode::kInvalidArgument,
         "rule: a value was used outside of the lambda it was given to; use it inside ch::rule or ch::visible only");
  }
  RuleNode node;
  node.op = op;
  node.table = table;
  size_t count = 0;
  for (const RuleValue& argument : arguments) node.arguments[count++] = recorder->node_of(argument);
  RuleValue value;
  value.recording_ = recorder->id;
  value.node_ = recorder->add(node);
  return value;
}

RuleTruth RuleTruth::of(RuleOp op, std::initializer_list<RuleValue> arguments) {
  RuleTruth truth(false);
  truth.value_ = RuleValue::make(op, arguments);
  return truth;
}

RuleTruth operator<(RuleValue a, RuleValue b) { return RuleTruth::of(RuleOp::kLess, {a, b}); }
RuleTruth operator<=(RuleValue a, RuleValue b) { return RuleTruth::of(RuleOp::kLessEqual, {a, b}); }
RuleTruth operator>(RuleValue a, RuleValue b) { return b < a; }
RuleTruth operator>=(RuleValue a, RuleValue b) { return b <= a; }
RuleTruth operator==(RuleValue a, RuleValue b) { return RuleTruth::of(RuleOp::kEqual, {a, b}); }
RuleTruth operator!=(RuleValue a, RuleValue b) { return RuleTruth::of(RuleOp::kNotEqual, {a, b}); }
RuleValue where(RuleTruth condition, RuleValue yes, RuleValue no) {
  return RuleValue::make(RuleOp::kWhere, {RuleRecorder::number_of(condition), yes, no});
}

RuleTable::RuleTable(Tensor values) {
  const bool fits = values.defined() && (values.dtype() == DType::kF32 || values.dtype() == DType::kI32) && values.rank() >= 1 &&
                    values.rank() <= 4 && values.numel() > 0;
  if (!fits) {
    fail(ErrorCode::kShape, "rule: expected a table of f32 or i32 with 1 to 4 axes and at least one entry, found {}",
         values.defined() ? std::string(to_string(values.dtype())) + " " + to_string(values.shape()) : std::string("no tensor"));
  }
  values_ = std::make_shared<const Tensor>(std::move(values));
}

RuleValue RuleTable::look_up(std::initializer_list<RuleValue> indices) const {
  if (static_cast<int>(indices.size()) != values_->rank()) {
    fail(ErrorCode::kShape, "rule: a table {} is looked up with {} indices; expected {}", to_string(values_->shape()),
         static_cast<int64_t>(indices.size()), values_->rank());
  }
  RuleRecorder* recorder = RuleRecorder::current();
  if (!recorder) fail(ErrorCode::kInvalidArgument, "rule: a table was looked up outside of ch::rule and ch::visible");
  return RuleValue::make(RuleOp::kTable, indices, recorder->index_of(values_));
}

RuleTable table(Tensor values) { return RuleTable(std::move(values)); }

Rule rule(const std::function<RuleValue(RuleValue score, RulePair at)>& body) {
  RuleRecorder recorder;
  const RuleValue score = recorder.leaf(RuleOp::kScore);
  const RulePair at{recorder.leaf(RuleOp::kBatch), recorder.leaf(RuleOp::kHead), recorder.leaf(RuleOp::kQuery),
                    recorder.leaf(RuleOp::kKey)};
  const Rule recorded = recorder.finish(body(score, at));
  validate_rule(recorded, false, "rule");
  return recorded;
}

Rule visible(const std::function<RuleTruth(RulePair at)>& body) {
  RuleRecorder recorder;
  const RulePair at{recorder.leaf(RuleOp::kBatch), recorder.leaf(RuleOp::kHead), recorder.leaf(RuleOp::kQuery),
                    recorder.leaf(RuleOp::kKey)};
  Rule recorded = recorder.finish(RuleRecorder::number_of(body(at)));
  validate_rule(recorded, true, "visible");
  return recorded;
}

}  // namespace clearhead
