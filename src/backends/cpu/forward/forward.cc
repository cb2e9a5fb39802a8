// The forward pass: runs the driver that dispatch.h chose. Compiled once per instruction set.
#include "backends/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/forward/forward.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/kernels.h"

#if CLEARHEAD_TARGET_HAS_KERNELS
#include "backends/cpu/forward/chunk_linear-inl.h"
#include "backends/cpu/forward/decode-inl.h"
#include "backends/cpu/forward/decode_bf16-inl.h"
#include "backends/cpu/forward/flash-inl.h"
#include "backends/cpu/forward/flash_bf16-inl.h"
#include "backends/cpu/forward/gather-inl.h"
#include "backends/cpu/forward/one_pass-inl.h"
#include "backends/cpu/forward/sparsemax-inl.h"
#include "backends/cpu/forward/split_kv-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

namespace {

template <class Block>
void forward_flash_of(ForwardPlan& plan) {
  if (!plan.wants_sums()) return forward_flash<Block>(plan);
  plan.take_sums();
  forward_flash<Summing<Block>>(plan);
}

template <class Block>
void forward_rounded(ForwardPlan& plan) {
  if (!plan.wants_sums()) return forward_flash_bf16<Block>(plan);
  plan.take_sums();
  forward_flash_bf16<Summing<Block>>(plan);
}

}  // namespace

void forward(const ForwardCall& call, const ForwardChoice& choice) {
  ForwardPlan plan(call, choice);
  read_offsets(plan.problem);
  switch (choice.driver) {
    case ForwardDriver::kChunkLinear: return forward_chunk_linear(plan);
    case ForwardDriver::kOnePass: return forward_one_pass(plan);
    case ForwardDriver::kSparsemax: return forward_sparsemax(plan);
    case ForwardDriver::kDecodeBf16: return forward_decode_bf16(plan);
    case ForwardDriver::kGather: return forward_gather(plan);
    case ForwardDriver::kDecode: return forward_decode(plan);
    case ForwardDriver::kSplitKv: return forward_split_kv(plan, choice.split_keys);
    case ForwardDriver::kFlashBf16:
      return choice.products == Products::kAmx ? forward_rounded<AmxBlock>(plan) : forward_rounded<Bf16DotBlock>(plan);
    case ForwardDriver::kFlash: return forward_flash_of<SoftmaxBlock>(plan);
  }
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
