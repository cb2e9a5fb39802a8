// Runs the steps of a rule over arrays of f32, a vector at a time. Compiled once per instruction set (rule_run.cc).
//
// Everything is element by element: the same inputs give the same bits, whatever the array and wherever in it.
#pragma once

#include <array>
#include <cstdint>

#include "backends/cpu/score/rule_program.h"

namespace clearhead::cpu {

/// Where arguments lie: element (row, vector, lane) of a slot at base + slot·slot_step + row·row_step + vector·vector_step + lane, unaligned.
struct RuleBankView {
  const float* base = nullptr;
  int64_t slot_step = 0, row_step = 0, vector_step = 0;
};

struct RuleFrame {
  int64_t rows = 0, vectors = 1;                 // vectors of lanes of every row
  int64_t own_step = 0;                          // floats from slot to slot of `own`
  float* own = nullptr;                          // [slot][row][vector][lane]; slot 0 is filled by the caller
  std::array<RuleBankView, kRuleBanks> banks{};  // of programs that ran before; kOwn is set by run_rule
};

/// Where gradients go while a rule is run backwards.
struct RuleAdjoint {
  float* own = nullptr;             // as RuleFrame::own: the result's is given, those of active slots are zero
  float* scalars = nullptr;         // [scalar slot][kScalarFloats]: sums over pairs, lane by lane
  double* const* tables = nullptr;  // [table][row-major entry]
};

namespace N_AVX2 {
void run_rule(const RuleProgram& program, const RuleCode& code, RuleFrame& frame);
/// After run_rule of reverse.code. A gradient of 0 stays 0, whatever the slope: pairs that are hidden may have any.
void reverse_rule(const RuleProgram& program, const RuleReverse& reverse, const RuleFrame& frame, const RuleAdjoint& to);
}  // namespace N_AVX2
namespace N_AVX3 {
void run_rule(const RuleProgram& program, const RuleCode& code, RuleFrame& frame);
void reverse_rule(const RuleProgram& program, const RuleReverse& reverse, const RuleFrame& frame, const RuleAdjoint& to);
}  // namespace N_AVX3

}  // namespace clearhead::cpu
