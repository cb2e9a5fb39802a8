// A rule (an expression graph for scores or visibility, clearhead/rule.h) compiled for vector code. Each node is computed
// only as often as its inputs change:
//
//   scalar   depends on batch and head: once per (batch, head), in double
//   lane     depends on the query's position: once per block of queries
//   key      depends on the key: once per key tile, as a line (array) over its keys
//   offset   depends on position − key: once per key tile, as a line over the offsets in it
//   pair     depends on the score or mixes the above: for every (query, key) pair
//
// All except the scalars are arrays of f32. run_rule (rule_run.h) computes them with the same operations in the same
// order for every kernel, so they have the same bits.
//
// A node is an offset node if query and key enter it only as c·query − c·key. It is always computed at
// (query = position − key, key = 0), even if the queries in the lanes are not consecutive. So ALiBi, T5's buckets and
// soft windows cost one load per vector of pairs.
//
// Kernels compute scores in base 2. The rule receives s₂·ln 2, and its result is multiplied by log₂e. The compiler moves
// both factors to where they cost nothing: (s₂·ln 2 − f)·log₂e becomes s₂ − f·log₂e, and the soft cap
// cap·tanh(s₂·ln 2/cap) becomes a tanh between two multiplications.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "clearhead/rule.h"

namespace clearhead::cpu {

/// Location of an argument of a step: a slot of its own program, or a slot of a program that ran before.
enum class RuleBank : uint8_t { kOwn, kScalar, kLane, kKey, kOffset };
inline constexpr size_t kRuleBanks = 5;

struct RuleOperand {
  RuleBank bank = RuleBank::kOwn;
  int32_t slot = 0;
};

struct RuleStep {
  RuleOp op = RuleOp::kConstant;
  int32_t to = 0;     // slot of the result
  int32_t table = 0;  // kTable
  std::array<RuleOperand, 4> arguments{};
};

/// A program: steps over arrays. Slot 0 holds the input: the score in base 2, the position, the key or the offset.
struct RuleCode {
  std::vector<RuleStep> steps{};
  int64_t slots = 1;
};

/// A rule's table as kernels read it: f32, contiguous.
struct RuleTableView {
  const float* values = nullptr;
  int32_t axes = 0;
  std::array<int32_t, 4> sizes{}, strides{};
};

class RuleProgram {
 public:
  // Floats per slot for the widest target: 48 lanes of queries, groups of 8 keys, tiles of 256 keys.
  static constexpr int64_t kLaneFloats = 48, kKeyFloats = 256 + 16, kOffsetFloats = 256 + 48 + 16, kGroupFloats = 8 * 48,
                           kExpandedFloats = 8 * 16;
  static constexpr int64_t kScalarFloats = 16;  // a scalar is stored as a full vector

  /// Compiles a score term (scores in base 2) or a visibility rule.
  RuleProgram(const Rule& rule, bool is_visibility);
  RuleProgram(const RuleProgram&) = delete;
  RuleProgram& operator=(const RuleProgram&) = delete;

  RuleCode lane{}, key{}, offset{}, pair{};
  RuleOperand result{};  // as an operand of the pair program
  /// Set if the term is the score plus (or minus) `result`, which does not depend on the score. There is then no pair
  /// program.
  bool adds = false, subtracts = false;
  bool uses_lane = false, uses_offset = false;
  // Slots of the key program that the pair program or the result reads.
  std::vector<int32_t> key_slots{};
  std::vector<RuleTableView> tables{};

  int64_t scalar_count() const { return static_cast<int64_t>(scalars_.size()); }
  /// Writes the scalars of one head: scalar_count()·kScalarFloats floats.
  void write_scalars(int64_t batch, int64_t head, float* to) const;
  /// Scratch in floats: for a key tile, and for a run of `length` keys of one query.
  int64_t tile_floats() const;
  int64_t line_floats(int64_t length) const { return lane.slots * kScalarFloats + (key.slots + offset.slots + pair.slots) * length; }

 private:
  friend class RuleCompiler;
  struct ScalarNode {
    RuleOp op = RuleOp::kConstant;
    double value = 0;
    int32_t table = -1;
    std::array<int32_t, 4> arguments{-1, -1, -1, -1};  // into scalar_nodes_
  };
  const Rule& rule_;
  std::vector<ScalarNode> scalar_nodes_;
  std::vector<int32_t> scalars_;  // [slot]: index into scalar_nodes_
  std::vector<std::vector<float>> copies_;
};

/// A rule as written, in natural units, with one slot per node. The backward pass runs it forward again and then in
/// reverse, group by group. The score is slot 0; positions and keys are slot 0 of the lane and key banks.
class RuleReverse {
 public:
  /// entries[table] says whether the gradients of the table's entries are wanted.
  RuleReverse(const Rule& rule, std::vector<bool> entries);

  RuleCode code{};
  RuleOperand result{};
  std::vector<bool> active{};         // [slot]: whether its gradient contributes to that of the score or of a wanted table entry
  std::vector<bool> active_scalar{};  // [slot of the scalar bank]: the same
  std::vector<bool> entries{};

  int64_t scalar_count() const { return static_cast<int64_t>(scalars_.size()); }
  void write_scalars(int64_t batch, int64_t head, float* to) const;
  /// Propagates the gradients of one head's scalars, d_scalars [scalar slot], to the table entries that they were
  /// computed from. Adds to sums[table][row-major entry].
  void add_scalar_gradients(int64_t batch, int64_t head, const double* d_scalars, double* const* sums) const;
  /// Scratch in floats for a group: values, gradients, expanded keys, scalars and their sums.
  int64_t group_floats() const {
    return 2 * code.slots * RuleProgram::kGroupFloats + RuleProgram::kExpandedFloats + 2 * scalar_count() * RuleProgram::kScalarFloats;
  }

 private:
  const Rule& rule_;
  std::vector<int32_t> scalars_;  // [scalar slot]: node
};

/// A rule as applied to one head.
struct RuleUse {
  const RuleProgram* program = nullptr;
  bool guards = true;              // pairs may already be hidden, and must stay hidden
  const float* scalars = nullptr;  // [slot][kScalarFloats]
  int64_t scratch = 0;             // where its scratch begins in TileScratch::rules
};

}  // namespace clearhead::cpu
