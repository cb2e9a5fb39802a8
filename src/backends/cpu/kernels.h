// What each pass of the kernels is compiled to, once per instruction set: forward/, backward/ and inspect/ define it, cpu.cc calls it with the choice it made.
// Operands are those that the choice's products take.
#pragma once

#include "backends/contract.h"
#include "backends/cpu/dispatch.h"

namespace clearhead::cpu {

namespace N_AVX2 {
void forward(const ForwardCall& call, const ForwardChoice& choice);
void backward(const BackwardCall& call, const BackwardChoice& choice);
void backward_chunk_linear(const BackwardCall& call);
void weights(const WeightsCall& call, Products products);
ReductionResult sweep(const SweepCall& call, const ReductionChoice& choice);
}  // namespace N_AVX2
namespace N_AVX3 {
void forward(const ForwardCall& call, const ForwardChoice& choice);
void backward(const BackwardCall& call, const BackwardChoice& choice);
void backward_chunk_linear(const BackwardCall& call);
void weights(const WeightsCall& call, Products products);
ReductionResult sweep(const SweepCall& call, const ReductionChoice& choice);
}  // namespace N_AVX3

}  // namespace clearhead::cpu
