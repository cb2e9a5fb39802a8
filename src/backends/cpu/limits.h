// The limits that speed is a fraction of, measured where and when the work runs.
#pragma once

#include <cstdint>

#include "clearhead/record.h"

namespace clearhead::cpu {

/// Runs about `fmas` fused multiply-adds of the instruction set on this thread, in registers; returns the seconds they took. *flops gets their number.
double fma_burst(InstructionSet isa, int64_t fmas, double* flops);

/// The same of bf16 as attention multiplies it (bf16_products), for about 15 µs: matrices (TDPBF16PS) or pairs (VDPBF16PS, four flops a lane). 0 where it widens.
double bf16_burst(double* flops);

/// Reads `bytes` bytes (a multiple of 4,096) on this thread with a software prefetch 2 KiB ahead. Returns a sum, so that reading cannot be left out.
float read_bytes(InstructionSet isa, const float* data, int64_t bytes);

namespace N_AVX2 {
float fma_chains(int64_t steps);
float read_all(const float* data, int64_t bytes);
}  // namespace N_AVX2
namespace N_AVX3 {
float fma_chains(int64_t steps);
float bf16_dot_chains(int64_t steps);
float read_all(const float* data, int64_t bytes);
}  // namespace N_AVX3

}  // namespace clearhead::cpu
