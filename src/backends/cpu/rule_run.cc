// One loop per operation over the vectors of a frame; what is passed between steps lies in L1.
#include "backends/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/rule_run.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/rule_run.h"

#if CLEARHEAD_TARGET_HAS_KERNELS
#include "backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {
namespace {

struct Argument {
  const float* base;
  int64_t row, vector;
  HWY_INLINE Floats at(int64_t r, int64_t v) const { return hn::LoadU(F32(), base + r * row + v * vector); }
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
  for (int64_t r = 0; r < step.frame.rows; ++r) {
    for (int64_t v = 0; v < step.frame.vectors; ++v) {
      Floats out;
      if constexpr (N == 1) out = f(a.at(r, v));
      if constexpr (N == 2) out = f(a.at(r, v), b.at(r, v));
      if constexpr (N == 3) out = f(a.at(r, v), b.at(r, v), c.at(r, v));
      hn::StoreU(out, d, to);
      to += kLanes;
    }
  }
}

// 1 where the lanes hold, else 0.
HWY_INLINE Floats truth(Lanes lanes) { return hn::IfThenElseZero(lanes, hn::Set(F32(), 1.0F)); }
HWY_INLINE Lanes holds(Floats x) { return hn::Not(hn::Eq(x, hn::Zero(F32()))); }

void look_up(const RuleTableView& table, const Step& step) {
  const F32 d;
  const I32 di;
  float* to = step.to;
  for (int64_t r = 0; r < step.frame.rows; ++r) {
    for (int64_t v = 0; v < step.frame.vectors; ++v) {
      Ints index = hn::Zero(di);
      for (int axis = 0; axis < table.axes; ++axis) {
        const size_t at = static_cast<size_t>(axis);
        const Floats last = hn::Set(d, static_cast<float>(table.sizes[at] - 1));
        // NaN → 0: Max gives its second operand.
        const Floats along = hn::Min(hn::Floor(hn::Max(step.arguments[at].at(r, v), hn::Zero(d))), last);
        index = index + hn::ConvertTo(di, along) * hn::Set(di, table.strides[at]);
      }
      hn::StoreU(hn::GatherIndex(d, table.values, index), d, to);
      to += kLanes;
    }
  }
}

void run_step(RuleOp op, const RuleTableView* table, const Step& step) {
  switch (op) {
    case RuleOp::kNegate: return each<1>(step, [](Floats x) CLEARHEAD_INLINE_LAMBDA { return hn::Neg(x); });
    case RuleOp::kAbs: return each<1>(step, [](Floats x) CLEARHEAD_INLINE_LAMBDA { return hn::Abs(x); });
    case RuleOp::kExp: return each<1>(step, [](Floats x) CLEARHEAD_INLINE_LAMBDA { return exp_of(x); });
    case RuleOp::kLog: return each<1>(step, [](Floats x) CLEARHEAD_INLINE_LAMBDA { return log_of(x); });
    case RuleOp::kTanh: return each<1>(step, [](Floats x) CLEARHEAD_INLINE_LAMBDA { return tanh_of(x); });
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
    case RuleOp::kConstant:
    case RuleOp::kScore:
    case RuleOp::kBatch:
    case RuleOp::kHead:
    case RuleOp::kQuery:
    case RuleOp::kKey: return;  // leaves are inputs and scalars
  }
}

}  // namespace

void run_rule(const RuleProgram& program, const RuleCode& code, RuleFrame& frame) {
  const int64_t row = frame.vectors * kLanes;
  frame.banks[static_cast<size_t>(RuleBank::kOwn)] = {frame.own, frame.own_step, row, kLanes};
  for (const RuleStep& from : code.steps) {
    Step step{frame, frame.own + from.to * frame.own_step, {}};
    for (size_t i = 0; i < 4; ++i) {
      const RuleBankView& bank = frame.banks[static_cast<size_t>(from.arguments[i].bank)];
      step.arguments[i] = {bank.base + from.arguments[i].slot * bank.slot_step, bank.row_step, bank.vector_step};
    }
    run_step(from.op, from.op == RuleOp::kTable ? &program.tables[static_cast<size_t>(from.table)] : nullptr, step);
  }
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
