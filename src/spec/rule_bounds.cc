// Interval arithmetic over the nodes of a rule, for a block of pairs. Every interval is widened by the rounding of f32.
// Tables keep minima and maxima over runs of 16 entries.
// Invariant: the value of every pair of the block, in double or f32, lies inside the interval.
#include "spec/rule_bounds.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "spec/rule_math.h"

namespace clearhead {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kRounding = 1e-6;  // relative; larger than the errors of f32 and of the kernels' polynomials
constexpr double kExact = 16777216;
constexpr RuleBound kAnything{-kInfinity, kInfinity, true, false};

RuleBound point(double value, bool integral) { return {value, value, std::isnan(value), integral}; }
bool is_integral(double value) { return std::floor(value) == value && std::abs(value) < kExact; }
double largest(const RuleBound& a) { return std::max(std::abs(a.low), std::abs(a.high)); }

RuleBound truth(bool may_be_true, bool may_be_false) { return {may_be_false ? 0.0 : 1.0, may_be_true ? 1.0 : 0.0, false, true}; }
bool may_be_true(const RuleBound& a) { return a.high != 0 || a.low != 0 || a.may_be_nan; }
bool may_be_false(const RuleBound& a) { return a.low <= 0 && a.high >= 0; }

// |a| + |b|, without those that are not finite: an end at infinity has no rounding error.
double finite(double a, double b = 0) { return (std::isfinite(a) ? std::abs(a) : 0) + (std::isfinite(b) ? std::abs(b) : 0); }

// Widens ends that were computed in double from numbers of these sizes. A NaN end comes from an operation on infinities.
RuleBound rounded(double low, double high, double low_size, double high_size, bool may_be_nan, bool integral) {
  if (std::isnan(low) || std::isnan(high)) return kAnything;
  integral = integral && std::abs(low) < kExact && std::abs(high) < kExact;
  if (!integral) {
    low -= kRounding * low_size + 1e-37;
    high += kRounding * high_size + 1e-37;
    if (high > 3.4e38) high = kInfinity;  // f32 overflows
    if (low < -3.4e38) low = -kInfinity;
    if (low > 3.4e38) low = 3.4e38;
    if (high < -3.4e38) high = -3.4e38;
  }
  return {low, high, may_be_nan, integral};
}
RuleBound rounded(double low, double high, bool may_be_nan, bool integral) {
  return rounded(low, high, finite(low), finite(high), may_be_nan, integral);
}

RuleBound negated(const RuleBound& a) { return {-a.high, -a.low, a.may_be_nan, a.integral}; }

RuleBound sum(const RuleBound& a, const RuleBound& b) {
  const bool infinities_meet = (a.high == kInfinity && b.low == -kInfinity) || (a.low == -kInfinity && b.high == kInfinity);
  const double size = finite(a.low, b.low) + finite(a.high, b.high);
  return rounded(a.low + b.low, a.high + b.high, size, size, a.may_be_nan || b.may_be_nan || infinities_meet, a.integral && b.integral);
}

bool has_zero(const RuleBound& a) { return a.low <= 0 && a.high >= 0; }
bool has_infinity(const RuleBound& a) { return a.low == -kInfinity || a.high == kInfinity; }

RuleBound product(const RuleBound& a, const RuleBound& b) {
  if ((has_zero(a) && has_infinity(b)) || (has_infinity(a) && has_zero(b))) return kAnything;
  const double ends[] = {a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high};
  for (const double end : ends) {
    if (std::isnan(end)) return kAnything;
  }
  const double low = *std::min_element(ends, ends + 4), high = *std::max_element(ends, ends + 4);
  return rounded(low, high, a.may_be_nan || b.may_be_nan, a.integral && b.integral);
}

RuleBound quotient(const RuleBound& a, const RuleBound& b) {
  if (has_zero(b) || (has_infinity(a) && has_infinity(b))) return kAnything;
  const double ends[] = {a.low / b.low, a.low / b.high, a.high / b.low, a.high / b.high};
  for (const double end : ends) {
    if (std::isnan(end)) return kAnything;
  }
  const double low = *std::min_element(ends, ends + 4), high = *std::max_element(ends, ends + 4);
  if (a.integral && b.integral && b.low == b.high) {
    // f32 rounds n/d to nearest, so it never rounds across an integer. It is enough to widen the ends to their f32 values,
    // and floor(n/d) then has tight bounds.
    return {std::min(low, static_cast<double>(static_cast<float>(low))), std::max(high, static_cast<double>(static_cast<float>(high))),
            a.may_be_nan, false};
  }
  return rounded(low, high, a.may_be_nan || b.may_be_nan, false);
}

template <class F>
RuleBound rising(const RuleBound& a, const F& f) {
  return rounded(f(a.low), f(a.high), a.may_be_nan, false);
}

RuleBound absolute(const RuleBound& a) {
  const double low = a.low <= 0 && a.high >= 0 ? 0 : std::min(std::abs(a.low), std::abs(a.high));
  return {low, largest(a), a.may_be_nan, a.integral};
}

RuleBound logarithm(const RuleBound& a) {
  if (a.high < 0) return kAnything;
  RuleBound out = rising({std::max(a.low, 0.0), a.high, a.may_be_nan || a.low < 0, false}, [](double x) { return std::log(x); });
  if (a.low < 1.2e-38) out.low = -kInfinity;  // in f32 it may be 0: kernels treat subnormal numbers as zero
  // Near 1 the logarithm is small, but the rounding of its argument is not.
  if (std::isfinite(out.low)) out.low -= kRounding;
  if (std::isfinite(out.high)) out.high += kRounding;
  return out;
}

RuleBound root(const RuleBound& a) {
  if (a.high < 0) return kAnything;
  return rising({std::max(a.low, 0.0), a.high, a.may_be_nan || a.low < 0, false}, [](double x) { return std::sqrt(x); });
}

RuleBound floored(const RuleBound& a) {
  const double low = std::floor(a.low), high = std::floor(a.high);
  return {low, high, a.may_be_nan, is_integral(low) && is_integral(high)};
}

RuleBound compared(RuleOp op, const RuleBound& a, const RuleBound& b) {
  const bool nan = a.may_be_nan || b.may_be_nan;
  const bool meet = a.low <= b.high && b.low <= a.high, one = a.low == a.high && b.low == b.high && a.low == b.low;
  switch (op) {
    case RuleOp::kLess: return truth(a.low < b.high, nan || a.high >= b.low);
    case RuleOp::kLessEqual: return truth(a.low <= b.high, nan || a.high > b.low);
    case RuleOp::kEqual: return truth(meet, nan || !one);
    default: return truth(nan || !one, meet);  // kNotEqual
  }
}

// The smallest interval that contains both.
RuleBound hull(const RuleBound& a, const RuleBound& b) {
  return {std::min(a.low, b.low), std::max(a.high, b.high), a.may_be_nan || b.may_be_nan, a.integral && b.integral};
}

// Bounds of min and max. If an argument may be NaN, the result may be either argument.
RuleBound chosen(RuleOp op, const RuleBound& a, const RuleBound& b) {
  if (a.may_be_nan || b.may_be_nan) return hull(a, b);
  if (op == RuleOp::kMin) return {std::min(a.low, b.low), std::min(a.high, b.high), false, a.integral && b.integral};
  return {std::max(a.low, b.low), std::max(a.high, b.high), false, a.integral && b.integral};
}

RuleBound combined(RuleOp op, const RuleBound& a, const RuleBound& b, const RuleBound& c) {
  switch (op) {
    case RuleOp::kNegate: return negated(a);
    case RuleOp::kAbs: return absolute(a);
    case RuleOp::kExp: return rising(a, [](double x) { return std::exp(x); });
    case RuleOp::kLog: return logarithm(a);
    case RuleOp::kTanh: return rising(a, [](double x) { return std::tanh(x); });
    case RuleOp::kSqrt: return root(a);
    case RuleOp::kFloor: return floored(a);
    case RuleOp::kNot: return truth(may_be_false(a), may_be_true(a));
    case RuleOp::kAdd: return sum(a, b);
    case RuleOp::kSubtract: return sum(a, negated(b));
    case RuleOp::kMultiply: return product(a, b);
    case RuleOp::kDivide: return quotient(a, b);
    case RuleOp::kMin:
    case RuleOp::kMax: return chosen(op, a, b);
    case RuleOp::kAnd: return truth(may_be_true(a) && may_be_true(b), may_be_false(a) || may_be_false(b));
    case RuleOp::kOr: return truth(may_be_true(a) || may_be_true(b), may_be_false(a) && may_be_false(b));
    case RuleOp::kWhere: return !may_be_false(a) ? b : !may_be_true(a) ? c : hull(b, c);
    default: return compared(op, a, b);
  }
}

constexpr int64_t kRun = 16;
constexpr RuleBound kNoEntries{kInfinity, -kInfinity, false, true};

void include(RuleBound& out, const RuleBound& more) {
  out.may_be_nan = out.may_be_nan || more.may_be_nan;
  out.low = std::min(out.low, more.low);  // ignores a NaN in `more`: std::min returns its first argument then
  out.high = std::max(out.high, more.high);
  out.integral = out.integral && more.integral;
}

}  // namespace

TableBounds::TableBounds(const Tensor& table) : table_(table) {
  const int64_t entries = table.size(-1), lines = table.numel() / entries;
  std::array<Range, 4> all{};
  for (int axis = 0; axis < table.rank(); ++axis) all[static_cast<size_t>(axis)] = {0, table.size(axis)};
  std::vector<int64_t> starts{0};  // offset of each line, in order
  for (int axis = 0; axis + 1 < table.rank(); ++axis) {
    std::vector<int64_t> next;
    for (const int64_t offset : starts) {
      for (int64_t i = 0; i < table.size(axis); ++i) next.push_back(offset + i * table.stride(axis));
    }
    starts = std::move(next);
  }
  for (int64_t run = kRun; run <= entries; run *= kRun) {
    const int64_t count = entries / run, below = entries / (run / kRun);
    std::vector<RuleBound> level(static_cast<size_t>(lines * count), kNoEntries);
    for (int64_t at = 0; at < lines * count; ++at) {
      const int64_t line = at / count, first = at % count * kRun;
      for (int64_t i = first; i < first + kRun; ++i) {
        include(level[static_cast<size_t>(at)],
                runs_.empty() ? entry(starts[static_cast<size_t>(line)], i) : runs_.back()[static_cast<size_t>(line * below + i)]);
      }
    }
    runs_.push_back(std::move(level));
  }
  whole_ = kNoEntries;
  add_lines(0, 0, 0, all, whole_);
}

RuleBound TableBounds::entry(int64_t offset, int64_t i) const {
  const int64_t at = offset + i * table_.stride(table_.rank() - 1);
  const double value =
      table_.dtype() == DType::kF32 ? static_cast<double>(table_.data<float>()[at]) : static_cast<double>(table_.data<int32_t>()[at]);
  return point(value, is_integral(value));
}

void TableBounds::add_stretch(int64_t line, int64_t offset, Range along, RuleBound& out) const {
  for (int64_t i = along.begin; i < along.end;) {
    size_t level = 0;
    int64_t run = 1;
    for (; level < runs_.size() && i % (run * kRun) == 0 && i + run * kRun <= along.end; ++level) run *= kRun;
    include(out, level == 0 ? entry(offset, i) : runs_[level - 1][static_cast<size_t>(line * (table_.size(-1) / run) + i / run)]);
    i += run;
  }
}

void TableBounds::add_lines(int axis, int64_t line, int64_t offset, const std::array<Range, 4>& reach, RuleBound& out) const {
  const Range along = reach[static_cast<size_t>(axis)];
  if (axis + 1 == table_.rank()) return add_stretch(line, offset, along, out);
  for (int64_t i = along.begin; i < along.end; ++i) {
    add_lines(axis + 1, line * table_.size(axis) + i, offset + i * table_.stride(axis), reach, out);
  }
}

RuleBound TableBounds::over(const std::array<Range, 4>& reach) const {
  constexpr int64_t kMostLines = 128;
  int64_t lines = 1;
  for (int axis = 0; axis + 1 < table_.rank(); ++axis) lines *= reach[static_cast<size_t>(axis)].size();
  RuleBound out = kNoEntries;
  if (lines <= kMostLines) {
    add_lines(0, 0, 0, reach, out);
  } else {
    out = whole_;
  }
  if (out.low > out.high) return kAnything;  // all entries are NaN
  if (!out.integral) {                       // i32 beyond 2^24 is rounded
    out.low = std::min(out.low, static_cast<double>(static_cast<float>(out.low)));
    out.high = std::max(out.high, static_cast<double>(static_cast<float>(out.high)));
  }
  return out;
}

RuleBounds::RuleBounds(const Rule& rule) : rule_(rule) {
  for (const Tensor& table : rule.tables) tables_.emplace_back(table);
}

RuleBound RuleBounds::of_table(const RuleNode& node, const std::vector<RuleBound>& bounds) const {
  const Tensor& table = rule_.tables[static_cast<size_t>(node.table)];
  std::array<Range, 4> reach{};
  for (int axis = 0; axis < table.rank(); ++axis) {
    const RuleBound& index = bounds[static_cast<size_t>(node.arguments[static_cast<size_t>(axis)])];
    reach[static_cast<size_t>(axis)] = {index.may_be_nan ? 0 : table_index(index.low, table.size(axis)),
                                        table_index(index.high, table.size(axis)) + 1};
  }
  return tables_[static_cast<size_t>(node.table)].over(reach);
}

RuleBound RuleBounds::bound(int64_t batch, int64_t head, Range positions, Range keys) const {
  thread_local std::vector<RuleBound> bounds;
  bounds.resize(rule_.nodes.size());
  const auto range = [](Range of) { return RuleBound{static_cast<double>(of.begin), static_cast<double>(of.end - 1), false, true}; };
  for (size_t n = 0; n < rule_.nodes.size(); ++n) {
    const RuleNode& node = rule_.nodes[n];
    RuleBound& out = bounds[n];
    switch (node.op) {
      case RuleOp::kConstant: out = point(static_cast<double>(node.value), is_integral(static_cast<double>(node.value))); break;
      case RuleOp::kScore: out = kAnything; break;
      case RuleOp::kBatch: out = point(static_cast<double>(batch), true); break;
      case RuleOp::kHead: out = point(static_cast<double>(head), true); break;
      case RuleOp::kQuery: out = range(positions); break;
      case RuleOp::kKey: out = range(keys); break;
      case RuleOp::kTable: out = of_table(node, bounds); break;
      default: {
        const auto argument = [&](size_t i) {
          return node.arguments[i] < 0 ? RuleBound{} : bounds[static_cast<size_t>(node.arguments[i])];
        };
        out = combined(node.op, argument(0), argument(1), argument(2));
      }
    }
  }
  return bounds.back();
}

Shown RuleBounds::shown(int64_t batch, int64_t head, Range positions, Range keys) const {
  const RuleBound result = bound(batch, head, positions, keys);
  return !may_be_true(result) ? Shown::kNone : !may_be_false(result) ? Shown::kAll : Shown::kMixed;
}

}  // namespace clearhead
