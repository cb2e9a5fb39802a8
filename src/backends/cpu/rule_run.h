// Runs the steps of a rule over arrays of f32, a vector at a time. Compiled once per instruction set (rule_run.cc).
//
// Everything is element by element: the same inputs give the same bits, whatever the array and wherever in it.
#pragma once

#include <array>
#include <cstdint>

#include "backends/cpu/rule_program.h"

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

namespace N_AVX2 {
void run_rule(const RuleProgram& program, const RuleCode& code, RuleFrame& frame);
}  // namespace N_AVX2
namespace N_AVX3 {
void run_rule(const RuleProgram& program, const RuleCode& code, RuleFrame& frame);
}  // namespace N_AVX3

}  // namespace clearhead::cpu
