// The gradient of a step, added up over its parts and over the processes that share them.
//
// Parts are added in a binary tree over their numbers (comm/comm.h), so that the sum's bits are the same whichever process computed which of them. A parameter's
// sum over the processes begins when the last part's backward pass is done with it, and goes on while the pass does.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "autograd/tape.h"
#include "comm/comm.h"

namespace clearhead {

class StepGradient {
 public:
  /// `parts` of the step are this process's. The leaves are watched by the tape, whose settling is heard from now on.
  StepGradient(Tape& tape, Comm& comm, std::vector<Tensor> leaves, int64_t parts);

  int64_t parts() const { return parts_; }
  /// Before the backward pass of part `at` of this process's.
  void begin(int64_t at);
  /// After the last one: the tape's gradients are the step's.
  void finish();

 private:
  void settled(size_t leaf);
  void send();

  Tape& tape_;
  Comm& comm_;
  std::vector<Tensor> leaves_;
  int64_t parts_, part_ = 0;
  std::unordered_map<uint64_t, size_t> by_storage_;
  std::vector<std::vector<Tensor>> levels_;  // [level of the tree][leaf]: sums that wait for their other half
  std::vector<Tensor> ready_;                // for the other processes, not sent yet
  size_t ready_bytes_ = 0;
};

}  // namespace clearhead
