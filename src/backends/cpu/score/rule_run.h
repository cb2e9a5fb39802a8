// Runs the steps of a rule over arrays of f32, one vector at a time. Compiled once per instruction set (rule_run.cc).
//
// Every operation is element-wise: the same inputs give the same bits, whatever their position in an array.
#pragma once

#include <array>
#include <cstdint>

#include "backends/cpu/score/rule_program.h"

namespace clearhead::cpu {

/// The layout of arguments: element (row, vector, lane) of a slot is at
/// base + slot·slot_step + row·row_step + vector·vector_step + lane. It need not be aligned.
struct RuleBankView {
  const float* base = nullptr;
  int64_t slot_step = 0, row_step = 0, vector_step = 0;
};

struct RuleFrame {
  int64_t rows = 0, vectors = 1;                 // vectors per row
  int64_t own_step = 0;                          // floats between slots of `own`
  float* own = nullptr;                          // [slot][row][vector][lane]; the caller fills slot 0
  std::array<RuleBankView, kRuleBanks> banks{};  // results of programs that ran before; run_rule sets kOwn
};

/// Destinations of gradients when a rule is run in reverse.
struct RuleAdjoint {
  // Same layout as RuleFrame::own. The caller sets the gradient of the result and clears those of the other active slots.
  float* own = nullptr;
  float* scalars = nullptr;         // [scalar slot][kScalarFloats]: sums over (query, key) pairs, lane by lane
  double* const* tables = nullptr;  // [table][row-major entry]
};

namespace N_AVX2 {
void run_rule(const RuleProgram& program, const RuleCode& code, RuleFrame& frame);
/// Call this after run_rule(reverse.code). A gradient of 0 stays 0 whatever the derivative is, because at hidden pairs
/// the derivative may be any number, including infinity and NaN.
void reverse_rule(const RuleProgram& program, const RuleReverse& reverse, const RuleFrame& frame, const RuleAdjoint& to);
}  // namespace N_AVX2
namespace N_AVX3 {
void run_rule(const RuleProgram& program, const RuleCode& code, RuleFrame& frame);
void reverse_rule(const RuleProgram& program, const RuleReverse& reverse, const RuleFrame& frame, const RuleAdjoint& to);
}  // namespace N_AVX3

}  // namespace clearhead::cpu
