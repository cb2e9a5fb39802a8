// The gradient of a step, summed over its micro-batches (gradient accumulation) and over the processes that share them.
//
// Micro-batches are added in a binary tree over their numbers (comm/comm.h), so the sum has the same bits whichever process
// computed which one. The sum of a parameter over the processes starts as soon as the last micro-batch's backward pass has
// finished that parameter's gradient, and overlaps with the rest of the pass.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "autograd/tape.h"
#include "comm/comm.h"

namespace clearhead::train {

class StepGradient {
 public:
  /// `micro_batches`: number of the step's micro-batches on this process. The tape must watch the leaves. Sets the tape's
  /// on_settled callback.
  StepGradient(Tape& tape, Comm& comm, std::vector<Tensor> leaves, int64_t micro_batches);

  int64_t micro_batches() const { return micro_batches_; }
  /// Call before the backward pass of this process's micro-batch `at`.
  void begin(int64_t at);
  /// Call after the last micro-batch. The tape's gradients are then those of the step.
  void finish();

 private:
  void settled(size_t leaf);
  void send();

  Tape& tape_;
  Comm& comm_;
  std::vector<Tensor> leaves_;
  int64_t micro_batches_, part_ = 0;
  std::unordered_map<uint64_t, size_t> by_storage_;
  std::vector<std::vector<Tensor>> levels_;  // [level of the tree][leaf]: partial sums that wait for the other operand
  std::vector<Tensor> ready_;                // gradients to be sent to the other processes
  size_t ready_bytes_ = 0;
};

}  // namespace clearhead::train
