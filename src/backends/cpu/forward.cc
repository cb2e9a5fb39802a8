// The forward, compiled once per instruction set: the driver that was chosen (dispatch.h) runs.
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

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

namespace {

template <class Block>
void forward_tiles_of(ForwardPlan& plan) {
  if (!plan.wants_sums()) return forward_tiles<Block>(plan);
  plan.take_sums();
  forward_tiles<Summing<Block>>(plan);
}

template <class Block>
void forward_rounded(ForwardPlan& plan) {
  if (!plan.wants_sums()) return forward_pairs<Block>(plan);
  plan.take_sums();
  forward_pairs<Summing<Block>>(plan);
}

}  // namespace

void forward(const ForwardCall& call, const ForwardChoice& choice) {
  ForwardPlan plan(call, choice);
  read_offsets(plan.problem);
  switch (choice.driver) {
    case ForwardDriver::kChunkLinear: return forward_linear(plan);
    case ForwardDriver::kOnePass: return forward_each(plan);
    case ForwardDriver::kSparsemax: return forward_strips(plan);
    case ForwardDriver::kDecodeBf16: return forward_decode_by_pairs(plan);
    case ForwardDriver::kGather: return forward_list(plan);
    case ForwardDriver::kDecode: return forward_decode(plan);
    case ForwardDriver::kSplitKv: return forward_split(plan, choice.split_keys);
    case ForwardDriver::kFlashBf16:
      return choice.products == Products::kAmx ? forward_rounded<MatrixBlock>(plan) : forward_rounded<PairBlock>(plan);
    case ForwardDriver::kFlash: return forward_tiles_of<SoftmaxBlock>(plan);
  }
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
