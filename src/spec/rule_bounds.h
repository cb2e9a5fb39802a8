// Bounds a rule over a block of pairs by interval arithmetic: a visibility rule shows all pairs, shows none, or must be
// evaluated pair by pair.
//
//   [a] + [b] = [a₀ + b₀, a₁ + b₁] …    a < b is certain if a₁ < b₀, impossible if a₀ ≥ b₁
//   a table gives the extremes of the entries that its indices can reach
//
// Bounds hold for the rule in double and for every f32 evaluation in the kernels: values that are not integers are
// widened by their rounding. Bounds may be wider than necessary, because query and key are treated as independent, but
// never narrower. So `mixed` is always correct, only slow.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "clearhead/look.h"
#include "clearhead/rule.h"

namespace clearhead {

enum class Shown : uint8_t { kNone, kAll, kMixed };

/// Range of a node's values. Truth values are 0 and 1.
struct RuleBound {
  double low = 0, high = 0;
  bool may_be_nan = false;
  bool integral = false;  // every value is an integer that f32 represents exactly, or NaN
};

// Extremes of a table's entries. Also kept for aligned runs of 16, 256, 4,096 … entries along the last axis, so that
// any range along it is covered by a few runs.
class TableBounds {
 public:
  explicit TableBounds(const Tensor& table);
  /// Bounds of the entries within these ranges, one range per axis. If they span more than
  /// 128 rows of the last axis, returns the bounds of the whole table.
  RuleBound over(const std::array<Range, 4>& reach) const;

 private:
  RuleBound entry(int64_t offset, int64_t i) const;
  void add_lines(int axis, int64_t line, int64_t offset, const std::array<Range, 4>& reach, RuleBound& out) const;
  void add_stretch(int64_t line, int64_t offset, Range along, RuleBound& out) const;

  const Tensor table_;
  std::vector<std::vector<RuleBound>> runs_;  // [level][line · runs of a line + run], runs of 16^(level + 1) entries
  RuleBound whole_;
};

class RuleBounds {
 public:
  explicit RuleBounds(const Rule& rule);

  /// Tells whether a visibility rule shows all, none or some of the pairs of positions × keys. Both ranges are
  /// [begin, end), not empty. Thread-safe.
  Shown shown(int64_t batch, int64_t head, Range positions, Range keys) const;
  /// Bounds of the result for any scores.
  RuleBound bound(int64_t batch, int64_t head, Range positions, Range keys) const;

 private:
  RuleBound of_table(const RuleNode& node, const std::vector<RuleBound>& bounds) const;
  const Rule& rule_;
  std::vector<TableBounds> tables_;
};

}  // namespace clearhead
