// The fast backend: attention with SIMD kernels, one function table per instruction set (AVX2, AVX-512). For each call,
// cpu.cc calls dispatch.h once to choose the driver.
//
// Rooms, that is, folders. Each may include those above it, except that backward and inspect do not include each other,
// and dense includes only simd:
//
//   simd/       vectors, 2^x, bf16, AMX; per-thread memory; loops over work items
//   dispatch    chooses the driver of a call and its products; kernels.h declares the entry points of the rooms below
//   score/      a description resolved for one head; scores in registers, terms, visibility; a weight from its score
//   forward/    one file per driver: flash, flash_bf16, split_kv, decode, decode_bf16, gather, sparsemax, one_pass,
//               chunk_linear
//   backward/   gradients: strips of queries over chunks of keys; along lists; by running sums
//   inspect/    scores and weights of any rows and keys; statistics of whole maps
//   dense/      linear layers, norms, convolutions, recurrences and their gradients; oneDNN
//
// Terms used in all rooms:
//
//   pair       a (query, key) pair; it is hidden if the query does not see the key
//   driver     an algorithm for a whole call, such as flash or decode
//   products   the instructions that multiply queries by keys: f32, bf16 dot products or AMX (dispatch.h)
//   word       a 32-bit lane that holds two bf16
//   block      up to 48 queries (AVX2: 24), one per lane
//   group      8 keys (AVX2: 4) whose scores against a block are in registers at the same time
//   key tile   256 keys, one KV page; an AMX tile is a tile register, 16 rows of up to 64 bytes
//   epilogue   the code that receives the scores of a group while they are in registers
//   look       recomputing scores, weights or statistics from a record
//   careful    set while a block is computed a second time because a result was not finite
//
// limits.h measures the machine's peak multiply-add rate and read bandwidth; benchmarks report kernels relative to them.
#pragma once

#include "backends/backend.h"

namespace clearhead {

/// Returns the table of an instruction set, or null if this machine lacks it or `isa` is kReference. Tables live as long
/// as the process.
const Backend* cpu_backend(InstructionSet isa);

}  // namespace clearhead
