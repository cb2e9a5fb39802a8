// The fast backend: attention with SIMD, one table per instruction set. cpu.cc asks dispatch.h once a call which driver computes it.
//
// Rooms, each of which may include those before it (backward and inspect do not know each other; dense knows simd alone):
//
//   simd/       vectors, 2^x, bf16, AMX; a thread's memory; items of work
//   dispatch    which driver computes a call, and with which products; kernels.h: what the rooms below are compiled to
//   score/      a description resolved for one head; scores in registers, their terms and visibility; a weight from its score
//   forward/    one file a driver: flash, flash_bf16, split_kv, decode, decode_bf16, gather, sparsemax, one_pass, chunk_linear
//   backward/   gradients: strips of queries over chunks of keys; along lists; by running sums
//   inspect/    scores and weights of any rows and keys; statistics of whole maps
//   dense/      linear layers, norms, convolutions, recurrences and their gradients; oneDNN
//
// limits.h measures what speed is a fraction of.
#pragma once

#include "backends/contract.h"

namespace clearhead {

/// The table of one instruction set, or null when this machine (or kReference) has none. Tables live as long as the process.
const Backend* cpu_backend(InstructionSet isa);

}  // namespace clearhead
