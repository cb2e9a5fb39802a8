// The fast backend: attention with SIMD, one table per instruction set.
//
//   score_view           a description resolved to addresses and numbers for one head, in base 2
//   rule_program         a rule dealt out to lines and pairs
//   row_shift, scratch   a row's numbers as kernels use them; a thread's memory
//   dense, dnnl, narrow  linear layers in f32, and with weights in 16 or 8 bits
//
// Compiled once per instruction set, in namespaces N_AVX2 and N_AVX3:
//
//   simd-inl.h, pack-inl.h, page-inl.h     vectors, 2^x, tanh, e^x, ln x; queries, biases, masks into lanes; pages of 16 bits widened
//   rule_run.cc, rule-inl.h                rules over arrays; lines and pairs in kernels
//   pair-inl.h, relative-inl.h             what a channel of q and k adds to a score; tables of offsets between query and key
//   matrix.h, matrix-inl.h                 AMX: a thread's registers; products of 16 × 16 in bf16, and the same chains without them
//   score_kernel-inl.h                     scores in registers
//   weight-inl.h, after-inl.h              a weight from its score, for every normaliser; dropout and the Gaussian, pair by pair
//   forward_tile-inl.h                     48 queries at a time over key tiles; forward_pairs-inl.h in bf16, forward_split-inl.h over split keys
//   forward_strip-inl.h                    sparsemax, entmax: all keys of a block
//   forward_each-inl.h                     sigmoid, linear, hard: scores as they come
//   forward_linear-inl.h, linear_state-inl.h   linear attention by running sums
//   forward_decode-inl.h                   few queries, keys in chunks
//   forward_list-inl.h                     keys by lists, query by query
//   lane_products-inl.h                    products summed over lanes
//   backward.cc, backward-inl.h            gradients: strips of queries over chunks of keys; backward_plan-inl.h what is resolved before
//   backward_scratch-inl.h                 what a strip, a head's keys and a thread keep
//   backward_pair-inl.h, backward_terms-inl.h   of the pair's operands; of the terms'
//   backward_matrix-inl.h                  what gradients multiply by matrices
//   backward_list-inl.h, backward_linear.cc   gradients along lists, and by running sums
//   weights.cc                             scores and weights of any rows and keys
//   sweep.cc, sweep_block-inl.h, sweep_top-inl.h, sweep_list-inl.h   statistics of whole maps
#pragma once

#include <cstdint>
#include <functional>

#include "backends/contract.h"
#include "backends/cpu/dispatch.h"

namespace clearhead {

/// The table of one instruction set, or null when this machine (or kReference) has none. Tables live as long as the process.
const Backend* cpu_backend(InstructionSet isa);

namespace cpu {

/// Told about every work item of the backend's parallel loops, on the thread that runs it: benches measure a limit before each and the item itself.
class ItemObserver {
 public:
  virtual ~ItemObserver() = default;
  virtual void before(int64_t item, int thread) = 0;
  virtual void after(int64_t item, int thread) = 0;
};
/// Null (the default) observes nothing and costs one load per loop. Not for use while another thread computes.
void observe_items(ItemObserver* observer);

/// One item of a loop that hands out several at once, under the observer, if there is one.
void observe_item(int64_t item, int thread, const std::function<void()>& body);

/// parallel_for under the observer, if there is one.
void for_items(int64_t items, const std::function<void(int64_t item, int thread)>& body);

// What the passes of the kernels give cpu.cc. Operands are those that the choice's products take.
namespace N_AVX2 {
void forward(const ForwardCall& call, const ForwardChoice& choice);
void backward(const BackwardCall& call, const BackwardChoice& choice);
void backward_linear(const BackwardCall& call);
void weights(const WeightsCall& call, Products products);
ReductionResult sweep(const SweepCall& call, const ReductionChoice& choice);
}  // namespace N_AVX2
namespace N_AVX3 {
void forward(const ForwardCall& call, const ForwardChoice& choice);
void backward(const BackwardCall& call, const BackwardChoice& choice);
void backward_linear(const BackwardCall& call);
void weights(const WeightsCall& call, Products products);
ReductionResult sweep(const SweepCall& call, const ReductionChoice& choice);
}  // namespace N_AVX3

}  // namespace cpu
}  // namespace clearhead
