// Gradients of the terms: the destinations of their operands' gradients, and running rules in reverse. Included once per
// target.
#if defined(CLEARHEAD_CPU_BACKWARD_TERMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_BACKWARD_TERMS_INL_H_
#undef CLEARHEAD_CPU_BACKWARD_TERMS_INL_H_
#else
#define CLEARHEAD_CPU_BACKWARD_TERMS_INL_H_
#endif

#include <algorithm>

#include "backends/cpu/score/rule-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// Destination of the gradient of a term's operand. Pointers are null if the gradient is not wanted.
struct TermGradient {
  float* bias = nullptr;          // the element [query 0, key 0] of this head; for an EdgeBias, its entry 0
  int64_t bias_query_stride = 0;  // 0: one row for all queries
  bool per_edge = false;          // EdgeBias: one number per entry of Topology::block_sparse
  double* slope = nullptr;
  // Set for a rule, unless it passes dS through unchanged and no gradients of its tables are wanted.
  const RuleReverse* rule = nullptr;
  const float* rule_scalars = nullptr;  // [scalar slot][kScalarFloats]
  double* d_scalars = nullptr;          // [scalar slot]
  double* const* d_tables = nullptr;    // [table][entry]
};

// Runs a rule again for a group of (query, key) pairs, then in reverse. `room` has RuleReverse::group_floats() floats.
struct RuleGroup {
  const RuleReverse& rule;
  RuleFrame frame;
  // scores: in natural units, filled by the caller.
  float *scores, *gradients, *keys_of_rows, *sums;

  RuleGroup(const RuleReverse& of, float* room, int64_t rows, int64_t vectors) : rule(of), scores(room) {
    const int64_t step = RuleProgram::kGroupFloats;
    gradients = scores + rule.code.slots * step;
    keys_of_rows = gradients + rule.code.slots * step;
    sums = keys_of_rows + RuleProgram::kExpandedFloats;
    frame.rows = rows;
    frame.vectors = vectors;
    frame.own = scores;
    frame.own_step = step;
  }
  RuleBankView& bank(RuleBank which) { return frame.banks[static_cast<size_t>(which)]; }

  // Replaces *at(row, vector), the gradient of the rule's result, by the gradient of the scores.
  template <class At>
  void reverse(const ScoreTerm& term, const TermGradient& to, At&& at) {
    const F32 d;
    const int64_t step = frame.own_step;
    bank(RuleBank::kScalar) = {to.rule_scalars, RuleProgram::kScalarFloats, 0, 0};
    run_rule(*term.rule.program, rule.code, frame);
    std::fill(gradients, gradients + rule.code.slots * step, 0.0F);
    std::fill(sums, sums + rule.scalar_count() * RuleProgram::kScalarFloats, 0.0F);
    const auto for_each = [&](auto&& f) {
      for (int64_t r = 0, i = 0; r < frame.rows; ++r) {
        for (int64_t v = 0; v < frame.vectors; ++v, i += kLanes) f(at(r, v), i);
      }
    };
    for_each([&](const float* from, int64_t i) {
      const Floats u = hn::Load(d, from);
      if (rule.result.bank == RuleBank::kOwn) hn::Store(u, d, gradients + rule.result.slot * step + i);
      if (rule.result.bank == RuleBank::kScalar) {
        float* sum = sums + rule.result.slot * RuleProgram::kScalarFloats;
        hn::Store(hn::Load(d, sum) + u, d, sum);
      }
    });
    reverse_rule(*term.rule.program, rule, frame, {gradients, sums, to.d_tables});
    for_each([&](float* d_score, int64_t i) { hn::Store(hn::Load(d, gradients + i), d, d_score); });
    for (int64_t slot = 0; slot < rule.scalar_count(); ++slot) {
      to.d_scalars[slot] += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, hn::Load(d, sums + slot * RuleProgram::kScalarFloats))));
    }
  }
};

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
