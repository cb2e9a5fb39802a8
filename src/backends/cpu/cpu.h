// The fast backend: f32 attention with SIMD, one table per instruction set.
//
//   score_view      a description resolved to addresses and numbers for one head, in base 2
//   rule_program    a rule dealt out to lines and pairs
//   simd-inl.h      vectors, 2^x, tanh, e^x, ln x               ┐
//   pack-inl.h      queries, biases, masks into lanes           │ compiled once per instruction set,
//   rule_run.cc, rule-inl.h  rules over arrays; lines and pairs in kernels │
//   pair-inl.h      what a channel of q and k adds to a score   │
//   score_kernel-inl.h  scores in registers                     │
//   relative-inl.h  tables of offsets between query and key      │ in namespaces N_AVX2 and N_AVX3
//   forward_tile-inl.h  48 queries at a time over key tiles     │
//   forward_pairs-inl.h  the same in bf16, two keys or channels to a lane
//   forward_split-inl.h  the same, split over keys too           │
//   forward_strip-inl.h  sparsemax, entmax: all keys of a block │
//   forward_each-inl.h  sigmoid, hard: scores as they come     │
//   after-inl.h     dropout and the Gaussian, pair by pair      │
//   weight-inl.h    a weight from its score, for every normaliser │
//   forward_decode-inl.h  few queries, keys in chunks           │
//   forward_list-inl.h  keys by lists, query by query           │
//   backward.cc, backward-inl.h  gradients: strips of queries over chunks of keys │
//   backward_sums-inl.h  sums over the queries of a pair of blocks │
//   backward_pair-inl.h  what q, k and the operands of a pair take of dS │
//   weights.cc      scores and weights of any rows and keys      │
//   sweep.cc, sweep_block-inl.h, sweep_list-inl.h  statistics of whole maps ┘
//   dense, dnnl, narrow  linear layers in f32, and with weights in 16 or 8 bits
#pragma once

#include <cstdint>
#include <functional>

#include "backends/contract.h"

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

namespace N_AVX2 {
void forward(const ForwardCall& call);
void weights(const WeightsCall& call);
SweepResult sweep(const SweepCall& call);
void backward(const BackwardCall& call);
}  // namespace N_AVX2
namespace N_AVX3 {
void forward(const ForwardCall& call);
void weights(const WeightsCall& call);
SweepResult sweep(const SweepCall& call);
void backward(const BackwardCall& call);
}  // namespace N_AVX3

}  // namespace cpu
}  // namespace clearhead
