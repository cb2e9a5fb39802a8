// Compiles the forward once per instruction set.
#include "backends/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/forward.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/cpu.h"

#if CLEARHEAD_TARGET_HAS_KERNELS
#include "backends/cpu/forward_decode-inl.h"
#include "backends/cpu/forward_decode_pairs-inl.h"
#include "backends/cpu/forward_each-inl.h"
#include "backends/cpu/forward_linear-inl.h"
#include "backends/cpu/forward_list-inl.h"
#include "backends/cpu/forward_pairs-inl.h"
#include "backends/cpu/forward_split-inl.h"
#include "backends/cpu/forward_strip-inl.h"
#include "backends/cpu/forward_tile-inl.h"
#include "backends/sweep_rows.h"
#include "backends/widen.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

namespace {

// Values and out are f32, queries and keys that or pairs of bf16.
void forward_wide(ForwardPlan& plan) {
  const ForwardCall& call = plan.call;
  const WeightKind kind = plan.problem.kind();
  if (goes_by_state(call.spec, plan.rows, key_length(call.keys), call.q.size(3), plan.d_v)) {
    forward_linear(plan);
  } else if (kind == WeightKind::kSigmoid || kind == WeightKind::kHard || kind == WeightKind::kLinear) {
    forward_each(plan);
  } else if (kind != WeightKind::kSoftmax) {
    forward_strips(plan);
  } else if (goes_by_list(plan.problem.view(0, 0), plan.rows)) {
    forward_list(plan);
  } else if (plan.rows <= kDecodeQueries && !plan.problem.view(0, 0).relative && !plan.problem.view(0, 0).after.is_by_pair()) {
    forward_decode(plan);
  } else if (const int64_t chunk = split_of(plan.rows * plan.problem.group(), key_length(call.keys))) {
    forward_split(plan, chunk);
  } else if (plan.wants_sums()) {
    plan.take_sums();
    forward_tiles<Summing<SoftmaxBlock>>(plan);
  } else {
    forward_tiles(plan);
  }
}

template <class Block>
void forward_rounded(ForwardPlan& plan) {
  if (!plan.wants_sums()) return forward_pairs<Block>(plan);
  plan.take_sums();
  forward_pairs<Summing<Block>>(plan);
}

void forward_given(ForwardPlan& plan) {
  if (!plan.problem.is_in_pairs()) return forward_wide(plan);
  if (goes_by_pairs(plan)) {
    plan.problem.takes_matrices() ? forward_rounded<MatrixBlock>(plan) : forward_rounded<PairBlock>(plan);
    return;
  }
  WideResult out(plan.call.out);
  plan.set_wide(widened(plan.call.v), out.tensor());
  std::holds_alternative<PagedKV>(plan.call.keys) ? forward_decode_by_pairs(plan) : forward_wide(plan);
  out.finish();
}

}  // namespace

void forward(const ForwardCall& call) {
  ForwardPlan plan(call);
  if (plan.problem.batch() * plan.problem.heads() * plan.rows == 0) return;
  read_offsets(plan.problem);
  forward_given(plan);
  if (!plan.has_sums()) sweep_rows(call, sweep);
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
