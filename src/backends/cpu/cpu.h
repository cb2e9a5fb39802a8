// The fast backend: attention with SIMD, one function table per instruction set (AVX2, AVX-512). For each call cpu.cc
// asks dispatch.h once which driver computes it.
//
// Rooms. Each may include those before it, except that backward and inspect do not know each
// other, and dense knows only simd:
//
//   simd/       vectors, 2^x, bf16, AMX; per-thread memory; loops over work items
//   dispatch    which driver computes a call, and with which products; kernels.h: what the rooms below compile to
//   score/      a description resolved for one head; scores in registers, terms, visibility; a weight from its score
//   forward/    one file per driver: flash, flash_bf16, split_kv, decode, decode_bf16, gather, sparsemax, one_pass,
//               chunk_linear
//   backward/   gradients: strips of queries over chunks of keys; along lists; by running sums
//   inspect/    scores and weights of any rows and keys; statistics of whole maps
//   dense/      linear layers, norms, convolutions, recurrences and their gradients; oneDNN
//
// Words used in all rooms:
//
//   pair       a (query, key) pair; hidden, if the query does not see the key
//   word       a 32-bit lane that holds two bf16
//   block      up to 48 queries (AVX2: 24), one per lane
//   group      8 keys (AVX2: 4) whose scores against a block are in registers together
//   key tile   256 keys, one KV page; an AMX tile is a tile register, 16 rows of up to 64 bytes
//   look       recomputing scores, weights or statistics from a record
//   careful    set while a block is computed again because a result was not finite
//
// limits.h measures the machine's peak multiply-add rate and read bandwidth, which benches compare kernels with.
#pragma once

#include "backends/contract.h"

namespace clearhead {

/// Returns the table of an instruction set, or null if this machine lacks it (and for
/// kReference). Tables live as long as the process.
const Backend* cpu_backend(InstructionSet isa);

}  // namespace clearhead
