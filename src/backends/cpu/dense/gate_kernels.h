// The kernels of a recurrent step, compiled once per instruction set. Each call computes rows [begin, end) on one thread.
#pragma once

#include "backends/recurrence.h"
#include "clearhead/record.h"

namespace clearhead::cpu {

struct GateKernels {
  void (*gates)(const GateCall& call, int64_t begin, int64_t end) = nullptr;
  void (*gradient)(const GateGradientCall& call, int64_t begin, int64_t end) = nullptr;
};

const GateKernels& gate_kernels(InstructionSet isa);

}  // namespace clearhead::cpu
