// Measures this machine's peak rates of multiply-adds and memory reads, on the thread that runs a work item and right
// before that item (items.h). Benchmarks report kernels as fractions of these rates.
#pragma once

#include <cstdint>

#include "clearhead/record.h"

namespace clearhead::cpu {

/// Runs about `fmas` fused multiply-adds in registers, on this thread. Returns the elapsed seconds and sets *flops to the
/// number of floating-point operations.
double fma_burst(InstructionSet isa, int64_t fmas, double* flops);

/// Measures the same for bf16, in a run of about 15 µs, with the instruction that bf16 attention uses on this machine
/// (bf16_products): TDPBF16PS (AMX) or VDPBF16PS (dot products, four flops per lane). Returns 0 if attention widens bf16 to f32.
double bf16_burst(double* flops);

/// Reads `bytes` bytes (a multiple of 4,096) on this thread, with a software prefetch 2 KiB ahead. Returns the sum of the
/// floats, so that the compiler cannot drop the reads.
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
