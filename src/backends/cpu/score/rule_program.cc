// The compiler of rules. It folds constants, moves the factors ln 2 and log₂e of base-2 scores to where they cost
// nothing, assigns nodes to programs by their dependencies, and reuses slots by liveness.
#include "backends/cpu/score/rule_program.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numbers>
#include <tuple>

#include "spec/rule_math.h"

namespace clearhead::cpu {
namespace {

// The values that a node depends on. A kPair node depends on the score, or on query and key in another way than by their difference;
// it belongs to the pair program.
enum class Kind : uint8_t { kScalar, kLane, kKey, kOffset, kPair };

struct Node {
  RuleOp op = RuleOp::kConstant;
  double value = 0;
  int32_t table = -1;
  std::array<int32_t, 4> arguments{-1, -1, -1, -1};
  Kind kind = Kind::kScalar;
  bool scored = false;  // depends on the score
  bool linear = false;  // equals query_part·query + key_part·key + a scalar
  double query_part = 0, key_part = 0;
};

using NodeKey = std::tuple<RuleOp, uint64_t, int32_t, std::array<int32_t, 4>>;

}  // namespace

// Rewrites a rule for scores in base 2, then assigns its nodes to programs.
class RuleCompiler {
 public:
  RuleCompiler(RuleProgram& to, bool is_visibility) : to_(to) {
    const int32_t score = add(RuleOp::kScore, {});
    std::vector<int32_t> at(to.rule_.nodes.size());  // [node of the rule]: node of the compiler
    for (size_t n = 0; n < at.size(); ++n) {
      const RuleNode& node = to.rule_.nodes[n];
      std::array<int32_t, 4> arguments{-1, -1, -1, -1};
      for (size_t i = 0; i < 4 && node.arguments[i] >= 0; ++i) arguments[i] = at[static_cast<size_t>(node.arguments[i])];
      if (node.op == RuleOp::kConstant) {
        at[n] = constant(static_cast<double>(node.value));
      } else {
        at[n] = node.op == RuleOp::kScore ? add(RuleOp::kMultiply, {score, constant(std::numbers::ln2)})
                                          : add(node.op, {arguments[0], arguments[1], arguments[2], arguments[3]}, node.table);
      }
    }
    const int32_t result = is_visibility ? at.back() : scaled(at.back(), std::numbers::log2e);
    emit_result(result, score);
    reuse_slots(to.pair);
  }

 private:
  const Node& of(int32_t node) const { return nodes_[static_cast<size_t>(node)]; }
  bool is_constant(int32_t node) const { return of(node).op == RuleOp::kConstant; }
  int32_t constant(double value) {
    Node node;
    node.value = value;
    node.linear = true;
    return keep(node);
  }
  int32_t keep(const Node& node) {
    const auto [at, fresh] = seen_.try_emplace(NodeKey{node.op, std::bit_cast<uint64_t>(node.value), node.table, node.arguments},
                                               static_cast<int32_t>(nodes_.size()));
    if (fresh) nodes_.push_back(node);
    return at->second;
  }

  // Adds a node, simplified where that costs no accuracy: constants are folded, and the division of a score-dependent
  // node by a constant or scalar becomes a multiplication by its inverse.
  int32_t add(RuleOp op, std::initializer_list<int32_t> of_these, int32_t table = -1) {
    std::array<int32_t, 4> arguments{-1, -1, -1, -1};
    std::copy(of_these.begin(), of_these.end(), arguments.begin());
    const auto count = static_cast<size_t>(std::find(arguments.begin(), arguments.end(), -1) - arguments.begin());
    const bool folds =
        op != RuleOp::kTable && count > 0 &&
        std::all_of(arguments.begin(), arguments.begin() + static_cast<std::ptrdiff_t>(count), [&](int32_t a) { return is_constant(a); });
    if (folds) {
      double x[4] = {};
      for (size_t i = 0; i < count; ++i) x[i] = of(arguments[i]).value;
      return constant(apply(op, x));
    }
    if (op == RuleOp::kMultiply && is_constant(arguments[0])) std::swap(arguments[0], arguments[1]);
    if (op == RuleOp::kDivide && is_constant(arguments[1]) && of(arguments[0]).scored) {
      return add(RuleOp::kMultiply, {arguments[0], constant(1 / of(arguments[1]).value)});
    }
    if (op == RuleOp::kDivide && of(arguments[1]).kind == Kind::kScalar && of(arguments[0]).scored) {
      return add(RuleOp::kMultiply, {arguments[0], add(RuleOp::kDivide, {constant(1), arguments[1]})});
    }
    if (op == RuleOp::kMultiply && is_constant(arguments[1]) && of(arguments[0]).scored) {
      const Node inner = of(arguments[0]);
      const double factor = of(arguments[1]).value;
      if (inner.op == RuleOp::kMultiply && is_constant(inner.arguments[1])) {
        return add(RuleOp::kMultiply, {inner.arguments[0], constant(of(inner.arguments[1]).value * factor)});
      }
      if (std::abs(factor - 1) < 1e-12) return arguments[0];
    }
    Node node;
    node.op = op;
    node.table = table;
    node.arguments = arguments;
    node.scored = op == RuleOp::kScore;
    for (size_t i = 0; i < count; ++i) node.scored = node.scored || of(arguments[i]).scored;
    find_kind(node, count);
    return keep(node);
  }

  void find_kind(Node& node, size_t count) const {
    switch (node.op) {
      case RuleOp::kScore: node.kind = Kind::kPair; return;
      case RuleOp::kQuery: node.kind = Kind::kLane, node.linear = true, node.query_part = 1; return;
      case RuleOp::kKey: node.kind = Kind::kKey, node.linear = true, node.key_part = 1; return;
      default: break;
    }
    for (size_t i = 0; i < count; ++i) {
      const Kind kind = of(node.arguments[i]).kind;
      if (kind == Kind::kScalar) continue;
      node.kind = node.kind == Kind::kScalar || node.kind == kind ? kind : Kind::kPair;
    }
    find_linear(node);
    if (node.kind == Kind::kPair && node.linear && !node.scored && node.query_part == -node.key_part) node.kind = Kind::kOffset;
  }

  void find_linear(Node& node) const {
    node.linear = node.kind == Kind::kScalar;
    if (node.kind == Kind::kScalar || node.scored) return;
    const Node& a = of(node.arguments[0]);
    if (node.op == RuleOp::kNegate && a.linear) {
      node.linear = true, node.query_part = -a.query_part, node.key_part = -a.key_part;
    } else if ((node.op == RuleOp::kAdd || node.op == RuleOp::kSubtract) && a.linear && of(node.arguments[1]).linear) {
      const Node& b = of(node.arguments[1]);
      const double sign = node.op == RuleOp::kAdd ? 1 : -1;
      node.linear = true, node.query_part = a.query_part + sign * b.query_part, node.key_part = a.key_part + sign * b.key_part;
    } else if (node.op == RuleOp::kMultiply && a.linear && is_constant(node.arguments[1])) {
      const double factor = of(node.arguments[1]).value;
      node.linear = true, node.query_part = factor * a.query_part, node.key_part = factor * a.key_part;
    }
  }

  // Returns true if a factor on the node can be moved through its operations towards the score.
  bool absorbs(int32_t n) const {
    const Node& node = of(n);
    if (!node.scored) return false;
    switch (node.op) {
      case RuleOp::kScore: return true;
      case RuleOp::kNegate: return absorbs(node.arguments[0]);
      case RuleOp::kAdd:
      case RuleOp::kSubtract:
      case RuleOp::kMultiply: return is_constant(node.arguments[1]) || absorbs(node.arguments[0]) || absorbs(node.arguments[1]);
      case RuleOp::kDivide: return absorbs(node.arguments[0]);
      case RuleOp::kMin:
      case RuleOp::kMax:
      case RuleOp::kWhere: return true;
      default: return false;
    }
  }

  // Returns a node that computes node n times a positive factor.
  int32_t scaled(int32_t n, double factor) {
    const Node node = of(n);
    const auto& a = node.arguments;
    if (!node.scored || !absorbs(n)) return add(RuleOp::kMultiply, {n, constant(factor)});
    switch (node.op) {
      case RuleOp::kNegate: return add(node.op, {scaled(a[0], factor)});
      case RuleOp::kAdd:
      case RuleOp::kSubtract:
      case RuleOp::kMin:
      case RuleOp::kMax: {
        const int32_t left = scaled(a[0], factor), right = scaled(a[1], factor);
        return add(node.op, {left, right});
      }
      case RuleOp::kMultiply:
        if (is_constant(a[1])) break;  // folds into one constant
        if (absorbs(a[0])) return add(node.op, {scaled(a[0], factor), a[1]});
        return add(node.op, {a[0], scaled(a[1], factor)});
      case RuleOp::kDivide: return add(node.op, {scaled(a[0], factor), a[1]});
      case RuleOp::kWhere: {
        const int32_t yes = scaled(a[1], factor), no = scaled(a[2], factor);
        return add(node.op, {a[0], yes, no});
      }
      default: break;
    }
    return add(RuleOp::kMultiply, {n, constant(factor)});
  }

  // --- programs -----------------------------------------------------------------------------------------------------

  void emit_result(int32_t result, int32_t score) {
    const Node node = of(result);
    const auto adds = [&](int32_t other) { return !of(other).scored && of(other).kind != Kind::kPair; };
    if (node.op == RuleOp::kAdd && node.arguments[0] == score && adds(node.arguments[1])) {
      to_.adds = true;
      to_.result = operand(Kind::kPair, node.arguments[1]);
    } else if (node.op == RuleOp::kAdd && node.arguments[1] == score && adds(node.arguments[0])) {
      to_.adds = true;
      to_.result = operand(Kind::kPair, node.arguments[0]);
    } else if (node.op == RuleOp::kSubtract && node.arguments[0] == score && adds(node.arguments[1])) {
      to_.subtracts = true;
      to_.result = operand(Kind::kPair, node.arguments[1]);
    } else {
      to_.result = operand(Kind::kPair, result);
    }
  }

  RuleCode& code_of(Kind phase) {
    return phase == Kind::kLane ? to_.lane : phase == Kind::kKey ? to_.key : phase == Kind::kOffset ? to_.offset : to_.pair;
  }

  // Returns the operand from which the program of `phase` reads the value of node n.
  RuleOperand operand(Kind phase, int32_t n) {
    const Node& node = of(n);
    if (node.kind == Kind::kScalar) return {RuleBank::kScalar, scalar_slot(n)};
    if (phase == Kind::kOffset) {  // the query is position − key, and the key is 0
      if (node.op == RuleOp::kKey) return {RuleBank::kScalar, scalar_slot(constant(0))};
      if (node.op == RuleOp::kQuery) return {RuleBank::kOwn, 0};
      return {RuleBank::kOwn, slot(phase, n)};
    }
    if (node.kind == phase) return {RuleBank::kOwn, slot(phase, n)};
    if (node.kind == Kind::kLane) {
      to_.uses_lane = true;
      return {RuleBank::kLane, slot(Kind::kLane, n)};
    }
    if (node.kind == Kind::kKey) {
      const int32_t key = slot(Kind::kKey, n);
      if (std::find(to_.key_slots.begin(), to_.key_slots.end(), key) == to_.key_slots.end()) to_.key_slots.push_back(key);
      return {RuleBank::kKey, key};
    }
    to_.uses_offset = true;
    return {RuleBank::kOffset, slot(Kind::kOffset, n)};
  }

  int32_t slot(Kind phase, int32_t n) {
    const Node node = of(n);
    if (node.op == RuleOp::kScore || node.op == RuleOp::kQuery || node.op == RuleOp::kKey) return 0;
    const auto known = slots_.find({phase, n});
    if (known != slots_.end()) return known->second;
    if (phase == Kind::kOffset && node.op == RuleOp::kSubtract && of(node.arguments[0]).op == RuleOp::kQuery &&
        of(node.arguments[1]).op == RuleOp::kKey) {
      return 0;
    }
    RuleStep step;
    step.op = node.op;
    step.table = node.table;
    for (size_t i = 0; i < 4 && node.arguments[i] >= 0; ++i) step.arguments[i] = operand(phase, node.arguments[i]);
    RuleCode& code = code_of(phase);
    step.to = static_cast<int32_t>(code.slots++);
    code.steps.push_back(step);
    slots_[{phase, n}] = step.to;
    return step.to;
  }

  int32_t scalar_slot(int32_t n) {
    const auto [at, fresh] = scalar_slots_.try_emplace(n, static_cast<int32_t>(to_.scalars_.size()));
    if (fresh) to_.scalars_.push_back(scalar_node(n));
    return at->second;
  }
  int32_t scalar_node(int32_t n) {
    const auto known = scalar_nodes_.find(n);
    if (known != scalar_nodes_.end()) return known->second;
    const Node node = of(n);
    RuleProgram::ScalarNode out{node.op, node.value, node.table, {-1, -1, -1, -1}};
    for (size_t i = 0; i < 4 && node.arguments[i] >= 0; ++i) out.arguments[i] = scalar_node(node.arguments[i]);
    to_.scalar_nodes_.push_back(out);
    return scalar_nodes_[n] = static_cast<int32_t>(to_.scalar_nodes_.size()) - 1;
  }

  // Reuses the slots of results that no later step reads, so that a group's work stays in L1.
  void reuse_slots(RuleCode& code) {
    std::vector<size_t> last(static_cast<size_t>(code.slots), 0);
    for (size_t n = 0; n < code.steps.size(); ++n) {
      const RuleStep& step = code.steps[n];
      const int arguments = argument_count(to_.rule_, step.op, step.table);
      for (size_t i = 0; i < static_cast<size_t>(arguments); ++i) {
        if (step.arguments[i].bank == RuleBank::kOwn) last[static_cast<size_t>(step.arguments[i].slot)] = n;
      }
    }
    if (to_.result.bank == RuleBank::kOwn) last[static_cast<size_t>(to_.result.slot)] = code.steps.size();
    std::vector<int32_t> place(static_cast<size_t>(code.slots), 0), open;
    int32_t used = 1;
    for (size_t n = 0; n < code.steps.size(); ++n) {
      RuleStep& step = code.steps[n];
      std::vector<int32_t> freed;
      const size_t arguments = static_cast<size_t>(argument_count(to_.rule_, step.op, step.table));
      for (size_t i = 0; i < arguments; ++i) {
        RuleOperand& a = step.arguments[i];
        if (a.bank != RuleBank::kOwn) continue;
        if (last[static_cast<size_t>(a.slot)] == n) freed.push_back(place[static_cast<size_t>(a.slot)]);
        a.slot = place[static_cast<size_t>(a.slot)];
      }
      std::sort(freed.begin(), freed.end());
      freed.erase(std::unique(freed.begin(), freed.end()), freed.end());
      open.insert(open.end(), freed.begin(), freed.end());  // a result may overwrite an argument: steps are element-wise
      int32_t to = 0;
      if (open.empty()) {
        to = used++;
      } else {
        to = open.back();
        open.pop_back();
      }
      place[static_cast<size_t>(step.to)] = to;
      step.to = to;
    }
    if (to_.result.bank == RuleBank::kOwn) to_.result.slot = place[static_cast<size_t>(to_.result.slot)];
    code.slots = used;
  }
  static int argument_count(const Rule& rule, RuleOp op, int32_t table) {
    RuleNode node;
    node.op = op;
    node.table = table;
    return clearhead::argument_count(rule, node);
  }

  RuleProgram& to_;
  std::vector<Node> nodes_;
  std::map<NodeKey, int32_t> seen_;
  std::map<std::pair<Kind, int32_t>, int32_t> slots_;
  std::map<int32_t, int32_t> scalar_slots_, scalar_nodes_;
};

RuleProgram::RuleProgram(const Rule& rule, bool is_visibility) : rule_(rule) {
  copies_.reserve(rule.tables.size());
  for (const Tensor& table : rule.tables) {
    RuleTableView view;
    view.axes = table.rank();
    int32_t stride = 1;
    for (int axis = table.rank() - 1; axis >= 0; --axis) {
      view.sizes[static_cast<size_t>(axis)] = static_cast<int32_t>(table.size(axis));
      view.strides[static_cast<size_t>(axis)] = stride;
      stride *= static_cast<int32_t>(table.size(axis));
    }
    const Tensor dense = table.contiguous();
    std::vector<float>& copy = copies_.emplace_back();
    if (table.dtype() == DType::kI32) {
      copy.assign(dense.data<int32_t>(), dense.data<int32_t>() + dense.numel());
    } else if (!table.is_contiguous()) {
      copy.assign(dense.data<float>(), dense.data<float>() + dense.numel());
    }
    view.values = copy.empty() ? table.data<float>() : copy.data();
    tables.push_back(view);
  }
  RuleCompiler(*this, is_visibility);
}

void RuleProgram::write_scalars(int64_t batch, int64_t head, float* to) const {
  std::vector<double> values(scalar_nodes_.size());
  for (size_t n = 0; n < scalar_nodes_.size(); ++n) {
    const ScalarNode& node = scalar_nodes_[n];
    double x[4] = {};
    for (size_t i = 0; i < 4 && node.arguments[i] >= 0; ++i) x[i] = values[static_cast<size_t>(node.arguments[i])];
    switch (node.op) {
      case RuleOp::kConstant: values[n] = node.value; break;
      case RuleOp::kBatch: values[n] = static_cast<double>(batch); break;
      case RuleOp::kHead: values[n] = static_cast<double>(head); break;
      case RuleOp::kTable: values[n] = table_value(rule_.tables[static_cast<size_t>(node.table)], x); break;
      default: values[n] = apply(node.op, x);
    }
  }
  for (const int32_t node : scalars_) to = std::fill_n(to, kScalarFloats, static_cast<float>(values[static_cast<size_t>(node)]));
}

int64_t RuleProgram::tile_floats() const {
  return lane.slots * kLaneFloats + key.slots * (kKeyFloats + kExpandedFloats) + offset.slots * (kOffsetFloats + kGroupFloats) +
         pair.slots * kGroupFloats;
}

RuleReverse::RuleReverse(const Rule& rule, std::vector<bool> wanted) : entries(std::move(wanted)), rule_(rule) {
  const size_t count = rule.nodes.size();
  std::vector<bool> scalar(count), reaches(count);
  std::vector<RuleOperand> place(count);
  std::vector<int32_t> scalar_slot(count, -1);
  active = {true};
  const auto use = [&](int32_t node) {
    const auto n = static_cast<size_t>(node);
    if (scalar[n] && scalar_slot[n] < 0) {
      scalar_slot[n] = static_cast<int32_t>(scalars_.size());
      scalars_.push_back(node);
      active_scalar.push_back(reaches[n]);
    }
    return scalar[n] ? RuleOperand{RuleBank::kScalar, scalar_slot[n]} : place[n];
  };
  for (size_t n = 0; n < count; ++n) {
    const RuleNode& node = rule.nodes[n];
    scalar[n] = node.op != RuleOp::kScore && node.op != RuleOp::kQuery && node.op != RuleOp::kKey;
    reaches[n] = node.op == RuleOp::kScore || (node.op == RuleOp::kTable && entries[static_cast<size_t>(node.table)]);
    for (size_t i = 0; i < 4 && node.arguments[i] >= 0; ++i) {
      const auto argument = static_cast<size_t>(node.arguments[i]);
      scalar[n] = scalar[n] && scalar[argument];
      if (node.op != RuleOp::kTable && node.op != RuleOp::kFloor && !facts_of(node.op).gives_truth)
        reaches[n] = reaches[n] || reaches[argument];
    }
    if (node.op == RuleOp::kScore) place[n] = {RuleBank::kOwn, 0};
    if (node.op == RuleOp::kQuery) place[n] = {RuleBank::kLane, 0};
    if (node.op == RuleOp::kKey) place[n] = {RuleBank::kKey, 0};
    if (scalar[n] || node.arguments[0] < 0) continue;
    RuleStep step;
    step.op = node.op;
    step.table = node.table;
    for (size_t i = 0; i < 4 && node.arguments[i] >= 0; ++i) step.arguments[i] = use(node.arguments[i]);
    step.to = static_cast<int32_t>(code.slots++);
    place[n] = {RuleBank::kOwn, step.to};
    active.push_back(reaches[n]);
    code.steps.push_back(step);
  }
  result = use(static_cast<int32_t>(count) - 1);
}

void RuleReverse::write_scalars(int64_t batch, int64_t head, float* to) const {
  RuleReader reader(rule_);
  reader.value({.batch = batch, .head = head});
  for (const int32_t node : scalars_) {
    to = std::fill_n(to, RuleProgram::kScalarFloats, static_cast<float>(reader.node(static_cast<size_t>(node))));
  }
}

void RuleReverse::add_scalar_gradients(int64_t batch, int64_t head, const double* d_scalars, double* const* sums) const {
  RuleReader reader(rule_);
  reader.value({.batch = batch, .head = head});
  std::vector<RuleGradient> upstream(rule_.nodes.size());
  for (size_t i = 0; i < scalars_.size(); ++i) {
    if (active_scalar[i]) upstream[static_cast<size_t>(scalars_[i])] = {d_scalars[i], std::abs(d_scalars[i])};
  }
  reader.reverse(std::move(upstream), [&](int32_t table, int64_t index, RuleGradient gradient) {
    if (entries[static_cast<size_t>(table)]) sums[table][index] += gradient.value;
  });
}

}  // namespace clearhead::cpu
