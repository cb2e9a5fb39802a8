// The operations of rules: a table with the name, the number of arguments and the types of each; values in double;
// derivatives; and the canonical form of a rule.
#include "spec/rule_math.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"

namespace clearhead {
namespace {

constexpr RuleOpFacts kFacts[kRuleOps] = {
    {"constant", 0, false, false}, {"score", 0, false, false},     {"batch", 0, false, false},  {"head", 0, false, false},
    {"query", 0, false, false},    {"key", 0, false, false},       {"negate", 1, false, false}, {"abs", 1, false, false},
    {"exp", 1, false, false},      {"log", 1, false, false},       {"tanh", 1, false, false},   {"sqrt", 1, false, false},
    {"floor", 1, false, false},    {"not", 1, true, true},         {"add", 2, false, false},    {"subtract", 2, false, false},
    {"multiply", 2, false, false}, {"divide", 2, false, false},    {"min", 2, false, false},    {"max", 2, false, false},
    {"less", 2, false, true},      {"less_equal", 2, false, true}, {"equal", 2, false, true},   {"not_equal", 2, false, true},
    {"and", 2, true, true},        {"or", 2, true, true},          {"where", 3, true, false},   {"table", -1, false, false}};

bool takes_truth(RuleOp op, int argument) { return facts_of(op).takes_truth && (op != RuleOp::kWhere || argument == 0); }

// A constant 0 or 1 counts as a number and as a truth value.
bool is_truth(const RuleNode& node) {
  return facts_of(node.op).gives_truth || (node.op == RuleOp::kConstant && (node.value == 0 || node.value == 1));
}

void check_table(const Rule& rule, const RuleNode& node, const std::string& where) {
  if (node.table < 0 || node.table >= static_cast<int32_t>(rule.tables.size())) {
    fail(ErrorCode::kInvalidArgument, "attention: {}: table {} is out of range: the rule has {}, counted from 0", where, node.table,
         static_cast<int64_t>(rule.tables.size()));
  }
  const Tensor& table = rule.tables[static_cast<size_t>(node.table)];
  const std::string name = where + ".table" + (node.table == 0 ? "" : std::to_string(node.table + 1));
  if (!table.defined()) fail(ErrorCode::kInvalidArgument, "attention: operand \"{}\" was given no tensor; expected f32 or i32", name);
  if ((table.dtype() != DType::kF32 && table.dtype() != DType::kI32) || table.rank() < 1 || table.rank() > 4 || table.numel() == 0) {
    fail(ErrorCode::kShape, "attention: operand \"{}\": expected f32 or i32 with 1 to 4 axes and at least one entry, found {} {}", name,
         to_string(table.dtype()), to_string(table.shape()));
  }
  const int found = static_cast<int>(std::find(node.arguments.begin(), node.arguments.end(), -1) - node.arguments.begin());
  if (found != table.rank()) {
    fail(ErrorCode::kShape, "attention: operand \"{}\" has shape {} but is looked up with {} indices", name, to_string(table.shape()),
         found);
  }
}

void check_node(const Rule& rule, size_t index, const std::string& where) {
  const RuleNode& node = rule.nodes[index];
  const std::string at = where + ": node " + std::to_string(index) + " (" + facts_of(node.op).name + ")";
  if (node.op == RuleOp::kConstant && std::isnan(node.value)) {
    fail(ErrorCode::kInvalidArgument, "attention: {}: a constant is NaN; every result would be NaN", at);
  }
  if (node.op == RuleOp::kTable) check_table(rule, node, where);
  const int count = argument_count(rule, node);
  for (int i = 0; i < 4; ++i) {
    const int32_t argument = node.arguments[static_cast<size_t>(i)];
    if (i >= count ? argument != -1 : argument < 0 || argument >= static_cast<int32_t>(index)) {
      fail(ErrorCode::kInvalidArgument, "attention: {}: argument {} is node {}; expected {}", at, i, argument,
           i >= count ? "none" : "an earlier node");
    }
    if (i >= count) continue;
    const RuleNode& of = rule.nodes[static_cast<size_t>(argument)];
    const bool wants = takes_truth(node.op, i);
    if (wants ? !is_truth(of) : facts_of(of.op).gives_truth) {
      fail(ErrorCode::kInvalidArgument, "attention: {}: argument {} is a {}; expected a {}", at, i, wants ? "number" : "boolean",
           wants ? "boolean (a comparison)" : "number; where(condition, a, b) makes one");
    }
  }
}

}  // namespace

const RuleOpFacts& facts_of(RuleOp op) { return kFacts[static_cast<size_t>(op)]; }

int argument_count(const Rule& rule, const RuleNode& node) {
  if (node.op != RuleOp::kTable) return facts_of(node.op).arguments;
  return rule.tables[static_cast<size_t>(node.table)].rank();
}

double apply(RuleOp op, const double* x) {
  switch (op) {
    case RuleOp::kNegate: return -x[0];
    case RuleOp::kAbs: return std::abs(x[0]);
    case RuleOp::kExp: return std::exp(x[0]);
    case RuleOp::kLog: return std::log(x[0]);
    case RuleOp::kTanh: return std::tanh(x[0]);
    case RuleOp::kSqrt: return std::sqrt(x[0]);
    case RuleOp::kFloor: return std::floor(x[0]);
    case RuleOp::kNot: return x[0] == 0 ? 1 : 0;
    case RuleOp::kAdd: return x[0] + x[1];
    case RuleOp::kSubtract: return x[0] - x[1];
    case RuleOp::kMultiply: return x[0] * x[1];
    case RuleOp::kDivide: return x[0] / x[1];
    case RuleOp::kMin: return x[0] < x[1] ? x[0] : x[1];  // the second argument if either is NaN, as in vector code
    case RuleOp::kMax: return x[0] > x[1] ? x[0] : x[1];
    case RuleOp::kLess: return x[0] < x[1] ? 1 : 0;
    case RuleOp::kLessEqual: return x[0] <= x[1] ? 1 : 0;
    case RuleOp::kEqual: return x[0] == x[1] ? 1 : 0;
    case RuleOp::kNotEqual: return x[0] == x[1] ? 0 : 1;
    case RuleOp::kAnd: return x[0] != 0 && x[1] != 0 ? 1 : 0;
    case RuleOp::kOr: return x[0] != 0 || x[1] != 0 ? 1 : 0;
    case RuleOp::kWhere: return x[0] != 0 ? x[1] : x[2];
    case RuleOp::kConstant:
    case RuleOp::kScore:
    case RuleOp::kBatch:
    case RuleOp::kHead:
    case RuleOp::kQuery:
    case RuleOp::kKey:
    case RuleOp::kTable: break;
  }
  return 0;
}

int64_t table_index(double index, int64_t size) {
  if (!(index > 0)) return 0;
  return index >= static_cast<double>(size - 1) ? size - 1 : static_cast<int64_t>(index);
}

double table_value(const Tensor& table, const double* indices) {
  int64_t offset = 0;
  for (int axis = 0; axis < table.rank(); ++axis) offset += table_index(indices[axis], table.size(axis)) * table.stride(axis);
  return table.dtype() == DType::kF32 ? static_cast<double>(table.data<float>()[offset])
                                      : static_cast<double>(table.data<int32_t>()[offset]);
}

int64_t table_row_major(const Tensor& table, const double* indices) {
  int64_t index = 0;
  for (int axis = 0; axis < table.rank(); ++axis) index = index * table.size(axis) + table_index(indices[axis], table.size(axis));
  return index;
}

double RuleReader::value(const RulePoint& at) {
  for (size_t n = 0; n < rule_->nodes.size(); ++n) {
    const RuleNode& node = rule_->nodes[n];
    double x[4] = {};
    for (size_t i = 0; i < 4 && node.arguments[i] >= 0; ++i) x[i] = argument(node, i);
    double& out = values_[n];
    switch (node.op) {
      case RuleOp::kConstant: out = static_cast<double>(node.value); break;
      case RuleOp::kScore: out = at.score; break;
      case RuleOp::kBatch: out = static_cast<double>(at.batch); break;
      case RuleOp::kHead: out = static_cast<double>(at.head); break;
      case RuleOp::kQuery: out = static_cast<double>(at.query); break;
      case RuleOp::kKey: out = static_cast<double>(at.key); break;
      case RuleOp::kTable: out = table_value(rule_->tables[static_cast<size_t>(node.table)], x); break;
      default: out = apply(node.op, x);
    }
  }
  return values_.back();
}

double RuleReader::magnitude(double score_magnitude) {
  for (size_t n = 0; n < rule_->nodes.size(); ++n) {
    const RuleNode& node = rule_->nodes[n];
    double x[3] = {}, size[3] = {};
    for (size_t i = 0; i < 3 && node.arguments[i] >= 0; ++i) {
      x[i] = argument(node, i);
      size[i] = sizes_[static_cast<size_t>(node.arguments[i])];
    }
    const double value = values_[n], own = std::abs(value);
    double& out = sizes_[n];
    switch (node.op) {
      case RuleOp::kScore: out = score_magnitude; break;
      case RuleOp::kNegate:
      case RuleOp::kAbs: out = size[0]; break;
      case RuleOp::kExp: out = own * size[0] + own; break;
      case RuleOp::kLog: out = size[0] / std::abs(x[0]) + own; break;
      case RuleOp::kTanh: out = (1 - value * value) * size[0] + own; break;
      case RuleOp::kSqrt: out = value > 0 ? size[0] / (2 * value) + own : size[0]; break;
      case RuleOp::kAdd:
      case RuleOp::kSubtract: out = size[0] + size[1] + own; break;
      case RuleOp::kMultiply: out = std::abs(x[1]) * size[0] + std::abs(x[0]) * size[1] + own; break;
      case RuleOp::kDivide: out = (size[0] + own * size[1]) / std::abs(x[1]) + own; break;
      case RuleOp::kMin:
      case RuleOp::kMax: out = std::max(size[0], size[1]); break;
      case RuleOp::kWhere: out = x[0] != 0 ? size[1] : size[2]; break;
      default: out = 0;  // exact (constants, positions, entries), or a step: rounding may move its place, not its height
    }
  }
  return sizes_.back();
}

RuleGradient RuleReader::reverse(RuleGradient upstream,
                                 const std::function<void(int32_t table, int64_t index, RuleGradient gradient)>& entry) {
  std::vector<RuleGradient> all(rule_->nodes.size());
  all.back() = upstream;
  return reverse(std::move(all), entry);
}

RuleGradient RuleReader::reverse(std::vector<RuleGradient> upstream,
                                 const std::function<void(int32_t table, int64_t index, RuleGradient gradient)>& entry) {
  upstream_ = std::move(upstream);
  RuleGradient score;
  for (size_t n = rule_->nodes.size(); n-- > 0;) {
    const RuleGradient u = upstream_[n];
    if (u.size == 0) continue;
    const RuleNode& node = rule_->nodes[n];
    double x[4] = {};
    for (size_t i = 0; i < 4 && node.arguments[i] >= 0; ++i) x[i] = argument(node, i);
    const auto pass = [&](size_t i, double slope) {
      RuleGradient& to = upstream_[static_cast<size_t>(node.arguments[i])];
      to.value += u.value * slope;
      to.size += u.size * std::abs(slope);
    };
    const double value = values_[n];
    switch (node.op) {
      case RuleOp::kScore: score = u; break;
      case RuleOp::kNegate: pass(0, -1); break;
      case RuleOp::kAbs: pass(0, x[0] < 0 ? -1 : 1); break;
      case RuleOp::kExp: pass(0, value); break;
      case RuleOp::kLog: pass(0, 1 / x[0]); break;
      case RuleOp::kTanh: pass(0, 1 - value * value); break;
      case RuleOp::kSqrt: pass(0, 1 / (2 * value)); break;
      case RuleOp::kAdd: pass(0, 1), pass(1, 1); break;
      case RuleOp::kSubtract: pass(0, 1), pass(1, -1); break;
      case RuleOp::kMultiply: pass(0, x[1]), pass(1, x[0]); break;
      case RuleOp::kDivide: pass(0, 1 / x[1]), pass(1, -value / x[1]); break;
      case RuleOp::kMin: pass(x[0] < x[1] ? 0 : 1, 1); break;
      case RuleOp::kMax: pass(x[0] > x[1] ? 0 : 1, 1); break;
      case RuleOp::kWhere: pass(x[0] != 0 ? 1 : 2, 1); break;
      case RuleOp::kTable: {
        const Tensor& table = rule_->tables[static_cast<size_t>(node.table)];
        if (table.dtype() == DType::kF32) entry(node.table, table_row_major(table, x), u);
        break;
      }
      default: break;  // constants and positions have no gradient; floor and truth values are steps
    }
  }
  return score;
}

void validate_rule(const Rule& rule, bool is_visibility, const std::string& where) {
  constexpr size_t kMostNodes = 1024;
  if (rule.nodes.empty() || rule.nodes.size() > kMostNodes) {
    fail(ErrorCode::kInvalidArgument, "attention: {} has {} nodes; expected 1 to {}", where, static_cast<int64_t>(rule.nodes.size()),
         static_cast<int64_t>(kMostNodes));
  }
  for (size_t n = 0; n < rule.nodes.size(); ++n) {
    check_node(rule, n, where);
    if (is_visibility && rule.nodes[n].op == RuleOp::kScore) {
      fail(ErrorCode::kInvalidArgument,
           "attention: {}: a visibility rule cannot read the score; a rule of the score hides a pair by returning -inf", where);
    }
  }
  const RuleNode& last = rule.nodes.back();
  if (is_visibility && !is_truth(last)) {
    fail(ErrorCode::kInvalidArgument, "attention: {}: its result is a number ({}); expected a boolean (a comparison)", where,
         facts_of(last.op).name);
  }
  if (!is_visibility && facts_of(last.op).gives_truth) {
    fail(ErrorCode::kInvalidArgument, "attention: {}: its result is a boolean ({}); expected a number: where(condition, a, b) makes one",
         where, facts_of(last.op).name);
  }
}

Rule canonical(const Rule& rule) {
  Rule out;
  std::vector<int32_t> node_at(rule.nodes.size(), -1), table_at(rule.tables.size(), -1);
  const std::function<int32_t(int32_t)> copy = [&](int32_t from) {
    int32_t& to = node_at[static_cast<size_t>(from)];
    if (to >= 0) return to;
    RuleNode node = rule.nodes[static_cast<size_t>(from)];
    for (int32_t& argument : node.arguments) {
      if (argument >= 0) argument = copy(argument);
    }
    if (node.op == RuleOp::kTable) {
      int32_t& index = table_at[static_cast<size_t>(node.table)];
      if (index < 0) {
        index = static_cast<int32_t>(out.tables.size());
        out.tables.push_back(rule.tables[static_cast<size_t>(node.table)]);
      }
      node.table = index;
    }
    out.nodes.push_back(node);
    return to = static_cast<int32_t>(out.nodes.size()) - 1;
  };
  copy(static_cast<int32_t>(rule.nodes.size()) - 1);
  return out;
}

}  // namespace clearhead
