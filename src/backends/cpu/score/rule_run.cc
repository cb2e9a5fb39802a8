// Runs a rule with one loop per operation over the vectors of a frame. Rows are merged into one loop if all arguments
// are contiguous. Intermediate results stay in L1.
#include "backends/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/score/rule_run.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <utility>

#include "backends/cpu/score/rule_run.h"

#if CLEARHEAD_TARGET_HAS_KERNELS
#include "backends/cpu/simd/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {
namespace {

struct Argument {
  const float* base;
  int64_t row, vector;
  HWY_INLINE Floats at(int64_t r, int64_t v) const { return hn::LoadU(F32(), base + r * row + v * vector); }
  // Returns true if the rows form one contiguous array, or all are the same scalar.
  bool is_flat(int64_t vectors) const { return row == vectors * vector; }
};

struct Step {
  const RuleFrame& frame;
  float* to;
  Argument arguments[4];
};

template <int N, class F>
HWY_INLINE void each(const Step& step, F&& f) {
  const F32 d;
  float* to = step.to;
  const Argument a = step.arguments[0], b = step.arguments[N > 1 ? 1 : 0], c = step.arguments[N > 2 ? 2 : 0];
  int64_t rows = step.frame.rows, vectors = step.frame.vectors;
  if (a.is_flat(vectors) && b.is_flat(vectors) && c.is_flat(vectors)) vectors *= std::exchange(rows, 1);
  for (int64_t r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int64_t v = 0; v < vectors; ++v) {
      Floats out;
      if constexpr (N == 1) out = f(a.at(r, v));
      if constexpr (N == 2) out = f(a.at(r, v), b.at(r, v));
      if constexpr (N == 3) out = f(a.at(r, v), b.at(r, v), c.at(r, v));
      hn::StoreU(out, d, to);
      to += kLanes;
    }
  }
}

// 1 where the mask is set, else 0.
HWY_INLINE Floats truth(Lanes lanes) { return hn::IfThenElseZero(lanes, hn::Set(F32(), 1.0F)); }
HWY_INLINE Lanes holds(Floats x) { return hn::Not(hn::Eq(x, hn::Zero(F32()))); }

// Row-major indices of the table entries that a vector looks up.
HWY_INLINE Ints entries_of(const RuleTableView& table, const Step& step, int64_t r, int64_t v) {
  const F32 d;
  const I32 di;
  Ints index = hn::Zero(di);
  for (int axis = 0; axis < table.axes; ++axis) {
    const size_t at = static_cast<size_t>(axis);
    const Floats last = hn::Set(d, static_cast<float>(table.sizes[at] - 1));
    // NaN becomes 0, because Max then returns its second operand.
    const Floats along = hn::Min(hn::Floor(hn::Max(step.arguments[at].at(r, v), hn::Zero(d))), last);
    index = index + hn::ConvertTo(di, along) * hn::Set(di, table.strides[at]);
  }
  return index;
}

void look_up(const RuleTableView& table, const Step& step) {
  float* to = step.to;
  for (int64_t r = 0; r < step.frame.rows; ++r) {
    for (int64_t v = 0; v < step.frame.vectors; ++v) {
      hn::StoreU(hn::GatherIndex(F32(), table.values, entries_of(table, step, r, v)), F32(), to);
      to += kLanes;
    }
  }
}

// tanh_of_scores, but tests only once whether all arguments are near 0.
void take_tanh(const Step& step) {
  const F32 d;
  const Argument& x = step.arguments[0];
  Floats largest = hn::Zero(d);
  for (int64_t r = 0; r < step.frame.rows; ++r) {
    for (int64_t v = 0; v < step.frame.vectors; ++v) largest = larger_magnitude(x.at(r, v), largest);
  }
  if (HWY_LIKELY(hn::AllTrue(d, is_near(largest)))) {
    each<1>(step, [](Floats at) CLEARHEAD_INLINE_LAMBDA { return near_tanh(at, at); });
  } else {
    each<1>(step, [](Floats at) CLEARHEAD_INLINE_LAMBDA { return tanh_of_scores(at); });
  }
}

void run_step(RuleOp op, const RuleTableView* table, const Step& step) {
  switch (op) {
    case RuleOp::kNegate: return each<1>(step, [](Floats x) CLEARHEAD_INLINE_LAMBDA { return hn::Neg(x); });
    case RuleOp::kAbs: return each<1>(step, [](Floats x) CLEARHEAD_INLINE_LAMBDA { return hn::Abs(x); });
    case RuleOp::kExp: return each<1>(step, [](Floats x) CLEARHEAD_INLINE_LAMBDA { return exp_of(x); });
    case RuleOp::kLog: return each<1>(step, [](Floats x) CLEARHEAD_INLINE_LAMBDA { return log_of(x); });
    case RuleOp::kTanh: return take_tanh(step);
    case RuleOp::kSqrt: return each<1>(step, [](Floats x) CLEARHEAD_INLINE_LAMBDA { return hn::Sqrt(x); });
    case RuleOp::kFloor: return each<1>(step, [](Floats x) CLEARHEAD_INLINE_LAMBDA { return hn::Floor(x); });
    case RuleOp::kNot: return each<1>(step, [](Floats x) CLEARHEAD_INLINE_LAMBDA { return truth(hn::Not(holds(x))); });
    case RuleOp::kAdd: return each<2>(step, [](Floats x, Floats y) CLEARHEAD_INLINE_LAMBDA { return x + y; });
    case RuleOp::kSubtract: return each<2>(step, [](Floats x, Floats y) CLEARHEAD_INLINE_LAMBDA { return x - y; });
    case RuleOp::kMultiply: return each<2>(step, [](Floats x, Floats y) CLEARHEAD_INLINE_LAMBDA { return x * y; });
    case RuleOp::kDivide: return each<2>(step, [](Floats x, Floats y) CLEARHEAD_INLINE_LAMBDA { return x / y; });
    case RuleOp::kMin: return each<2>(step, [](Floats x, Floats y) CLEARHEAD_INLINE_LAMBDA { return hn::Min(x, y); });
    case RuleOp::kMax: return each<2>(step, [](Floats x, Floats y) CLEARHEAD_INLINE_LAMBDA { return hn::Max(x, y); });
    case RuleOp::kLess: return each<2>(step, [](Floats x, Floats y) CLEARHEAD_INLINE_LAMBDA { return truth(hn::Lt(x, y)); });
    case RuleOp::kLessEqual: return each<2>(step, [](Floats x, Floats y) CLEARHEAD_INLINE_LAMBDA { return truth(hn::Le(x, y)); });
    case RuleOp::kEqual: return each<2>(step, [](Floats x, Floats y) CLEARHEAD_INLINE_LAMBDA { return truth(hn::Eq(x, y)); });
    case RuleOp::kNotEqual: return each<2>(step, [](Floats x, Floats y) CLEARHEAD_INLINE_LAMBDA { return truth(hn::Not(hn::Eq(x, y))); });
    case RuleOp::kAnd: return each<2>(step, [](Floats x, Floats y) CLEARHEAD_INLINE_LAMBDA { return truth(hn::And(holds(x), holds(y))); });
    case RuleOp::kOr: return each<2>(step, [](Floats x, Floats y) CLEARHEAD_INLINE_LAMBDA { return truth(hn::Or(holds(x), holds(y))); });
    case RuleOp::kWhere:
      return each<3>(step, [](Floats c, Floats x, Floats y) CLEARHEAD_INLINE_LAMBDA { return hn::IfThenElse(holds(c), x, y); });
    case RuleOp::kTable: return look_up(*table, step);
    case RuleOp::kConstant:  // leaves have no step: they are inputs or scalars
    case RuleOp::kScore:
    case RuleOp::kBatch:
    case RuleOp::kHead:
    case RuleOp::kQuery:
    case RuleOp::kKey: return;
  }
}

// --- backwards ------------------------------------------------------------------------------------------------------

// One step in reverse: `step.to` holds the step's results, `gradient` their gradients.
struct Reversal {
  const Step& step;
  const RuleStep& from;
  const RuleReverse& reverse;
  const RuleAdjoint& adjoint;
  int64_t own_step;
  const float* gradient;
};

// Adds gradient·slope(x, y, z, value) to the gradient of argument i, if that gradient is wanted.
template <class F>
HWY_INLINE void pass(const Reversal& at, size_t i, F&& slope) {
  const F32 d;
  const RuleOperand& operand = at.from.arguments[i];
  const auto slot = static_cast<size_t>(operand.slot);
  const bool is_own = operand.bank == RuleBank::kOwn && at.reverse.active[slot];
  const bool is_scalar = operand.bank == RuleBank::kScalar && at.reverse.active_scalar[slot];
  if (!is_own && !is_scalar) return;
  float* to = is_own ? at.adjoint.own + operand.slot * at.own_step : at.adjoint.scalars + operand.slot * RuleProgram::kScalarFloats;
  const Argument *x = at.step.arguments, *y = x + 1, *z = x + 2;
  const int64_t step = is_own ? kLanes : 0;
  for (int64_t r = 0, element = 0; r < at.step.frame.rows; ++r) {
    for (int64_t v = 0; v < at.step.frame.vectors; ++v, element += kLanes) {
      const Floats u = hn::LoadU(d, at.gradient + element);
      const Floats g = u * slope(x->at(r, v), y->at(r, v), z->at(r, v), hn::LoadU(d, at.step.to + element));
      hn::StoreU(hn::LoadU(d, to) + hn::IfThenZeroElse(hn::Eq(u, hn::Zero(d)), g), d, to);
      to += step;
    }
  }
}

void add_to_entries(const RuleTableView& table, const Reversal& at, double* sums) {
  alignas(64) int32_t index[kLanes];
  const float* gradient = at.gradient;
  for (int64_t r = 0; r < at.step.frame.rows; ++r) {
    for (int64_t v = 0; v < at.step.frame.vectors; ++v, gradient += kLanes) {
      hn::Store(entries_of(table, at.step, r, v), I32(), index);
      for (int i = 0; i < kLanes; ++i) sums[index[i]] += static_cast<double>(gradient[i]);
    }
  }
}

#define CLEARHEAD_SLOPE(expression)                                        \
  [](Floats x, Floats y, Floats z, Floats value) CLEARHEAD_INLINE_LAMBDA { \
    const F32 d;                                                           \
    (void)d, (void)x, (void)y, (void)z, (void)value;                       \
    return expression;                                                     \
  }

void reverse_step(const Reversal& at, const RuleTableView* table) {
  const auto one = CLEARHEAD_SLOPE(hn::Set(d, 1.0F));
  const auto minus_one = CLEARHEAD_SLOPE(hn::Set(d, -1.0F));
  switch (at.from.op) {
    case RuleOp::kNegate: return pass(at, 0, minus_one);
    case RuleOp::kAbs: return pass(at, 0, CLEARHEAD_SLOPE(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Set(d, -1.0F), hn::Set(d, 1.0F))));
    case RuleOp::kExp: return pass(at, 0, CLEARHEAD_SLOPE(value));
    case RuleOp::kLog: return pass(at, 0, CLEARHEAD_SLOPE(hn::Set(d, 1.0F) / x));
    case RuleOp::kTanh: return pass(at, 0, CLEARHEAD_SLOPE(tanh_slope(x)));
    case RuleOp::kSqrt: return pass(at, 0, CLEARHEAD_SLOPE(hn::Set(d, 0.5F) / value));
    case RuleOp::kAdd: return pass(at, 0, one), pass(at, 1, one);
    case RuleOp::kSubtract: return pass(at, 0, one), pass(at, 1, minus_one);
    case RuleOp::kMultiply: return pass(at, 0, CLEARHEAD_SLOPE(y)), pass(at, 1, CLEARHEAD_SLOPE(x));
    case RuleOp::kDivide: return pass(at, 0, CLEARHEAD_SLOPE(hn::Set(d, 1.0F) / y)), pass(at, 1, CLEARHEAD_SLOPE(hn::Neg(value / y)));
    case RuleOp::kMin: pass(at, 0, CLEARHEAD_SLOPE(truth(hn::Lt(x, y)))); return pass(at, 1, CLEARHEAD_SLOPE(truth(hn::Not(hn::Lt(x, y)))));
    case RuleOp::kMax: pass(at, 0, CLEARHEAD_SLOPE(truth(hn::Gt(x, y)))); return pass(at, 1, CLEARHEAD_SLOPE(truth(hn::Not(hn::Gt(x, y)))));
    case RuleOp::kWhere: pass(at, 1, CLEARHEAD_SLOPE(truth(holds(x)))); return pass(at, 2, CLEARHEAD_SLOPE(truth(hn::Not(holds(x)))));
    case RuleOp::kTable:
      if (at.reverse.entries[static_cast<size_t>(at.from.table)]) add_to_entries(*table, at, at.adjoint.tables[at.from.table]);
      return;
    default: return;  // piecewise constant operations: the derivative is 0
  }
}
#undef CLEARHEAD_SLOPE

// Returns a step with the addresses of its result and arguments in the frame.
Step step_of(const RuleFrame& frame, const RuleStep& from) {
  Step step{frame, frame.own + from.to * frame.own_step, {}};
  for (size_t i = 0; i < 4; ++i) {
    const RuleBankView& bank = frame.banks[static_cast<size_t>(from.arguments[i].bank)];
    step.arguments[i] = {bank.base + from.arguments[i].slot * bank.slot_step, bank.row_step, bank.vector_step};
  }
  return step;
}

const RuleTableView* table_of(const RuleProgram& program, const RuleStep& step) {
  return step.op == RuleOp::kTable ? &program.tables[static_cast<size_t>(step.table)] : nullptr;
}

}  // namespace

void run_rule(const RuleProgram& program, const RuleCode& code, RuleFrame& frame) {
  const int64_t row = frame.vectors * kLanes;
  frame.banks[static_cast<size_t>(RuleBank::kOwn)] = {frame.own, frame.own_step, row, kLanes};
  for (const RuleStep& from : code.steps) run_step(from.op, table_of(program, from), step_of(frame, from));
}

void reverse_rule(const RuleProgram& program, const RuleReverse& reverse, const RuleFrame& frame, const RuleAdjoint& to) {
  for (size_t n = reverse.code.steps.size(); n-- > 0;) {
    const RuleStep& from = reverse.code.steps[n];
    if (!reverse.active[static_cast<size_t>(from.to)]) continue;
    const Step step = step_of(frame, from);
    reverse_step({step, from, reverse, to, frame.own_step, to.own + from.to * frame.own_step}, table_of(program, from));
  }
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
