// The entry points of forward/, backward/ and inspect/, compiled once per instruction set. cpu.cc calls them with the
// driver or the products that it got from dispatch.h; `backward` calls backward_chunk_linear. Operands must have the dtype that
// these products take.
#pragma once

#include "backends/backend.h"
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
