// What a rule can be over a block of pairs, by interval arithmetic: a visibility rule shows all of them, none, or must be asked pair by pair.
//
//   [a] + [b] = [a₀ + b₀, a₁ + b₁] …    a < b is sure where a₁ < b₀, impossible where a₀ ≥ b₁    a table gives the extremes of the entries in reach
//
// Bounds hold for the rule in double and for every f32 evaluation of it in the kernels: what is not made of integers is widened by its rounding.
// They may be wider than needed (query and key are taken to be independent), never narrower: `mixed` is always a right answer, only a slow one.
#pragma once

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
  std::vector<RuleBound> whole_tables_;
};

}  // namespace clearhead
