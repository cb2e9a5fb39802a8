// What a rule can be over a block of pairs, by interval arithmetic: a visibility rule shows all of them, none, or must be asked pair by pair.
//
//   [a] + [b] = [a₀ + b₀, a₁ + b₁] …    a < b is sure where a₁ < b₀, impossible where a₀ ≥ b₁    a table gives the extremes of the entries in reach
//
// Bounds hold for the rule in double and for every f32 evaluation of it in the kernels: what is not made of integers is widened by its rounding.
// They may be wider than needed (query and key are taken to be independent), never narrower: `mixed` is always a right answer, only a slow one.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "clearhead/look.h"
#include "clearhead/rule.h"

namespace clearhead {

enum class Shown : uint8_t { kNone, kAll, kMixed };

/// Where a node's values lie. Truths are 0 and 1.
struct RuleBound {
  double low = 0, high = 0;
  bool may_be_nan = false;
  bool integral = false;  // an integer that f32 holds, or NaN
};

// Extremes of a table's entries; of aligned runs of 16, 256, 4,096 … along its last axis too, so that any stretch of that is a few of them.
class TableBounds {
 public:
  explicit TableBounds(const Tensor& table);
  /// Of the entries in reach, a range along each axis. Of too many along the others, of the whole table.
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

  /// Of a visibility rule over query positions × keys, as [begin, end), none empty. Thread-safe.
  Shown shown(int64_t batch, int64_t head, Range positions, Range keys) const;
  /// Of the result; scores are anything.
  RuleBound bound(int64_t batch, int64_t head, Range positions, Range keys) const;

 private:
  RuleBound of_table(const RuleNode& node, const std::vector<RuleBound>& bounds) const;
  const Rule& rule_;
  std::vector<TableBounds> tables_;
};

}  // namespace clearhead
