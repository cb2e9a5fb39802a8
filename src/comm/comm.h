// Communication between the processes of a distributed run, numbered from 0 (their ranks).
//
//   std::shared_ptr<Comm> comm = join_processes();     // the processes started by mpirun; otherwise this one alone
//   comm->sum({gradient});  …;  comm->wait();          // summed while this process continues
//
// All processes must make the same calls in the same order. The order of additions follows from the ranks alone
// (tree_sum), so the bits of a sum do not depend on which process arrives first.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "clearhead/tensor.h"

namespace clearhead {

/// Adds items that come one after the other, in the order of a binary tree over their numbers:
/// ((0 1)(2 3))((4 5)(6 7)). A subtree of 2^n items whose first number is a multiple of 2^n gives the same bits
/// wherever it is added up.
/// For item `at` of `count`: merge(level) must add the sum kept last at this level (of 2^level items) to the item, and
/// keep(level) must keep the item's sum at this level. keep() is not called for the last item, which holds the total.
void tree_sum(int64_t at, int64_t count, const std::function<void(int level)>& merge, const std::function<void(int level)>& keep);

class Comm {
 public:
  virtual ~Comm() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Starts an all-reduce: each tensor (f32, contiguous) becomes the sum of the processes'
  /// tensors. Do not touch them until wait() returns.
  virtual void sum(std::vector<Tensor> values) = 0;
  virtual void wait() = 0;
  /// Returns what each process passed, by rank.
  virtual std::vector<std::vector<double>> gather(const std::vector<double>& mine) = 0;
  /// Starts a ring shift: `out` goes to the next rank (from the last to the first), `in` receives what the previous
  /// rank sent. f32, contiguous, the same shape in all processes. Do not touch either until wait() returns.
  virtual void shift(const Tensor& out, Tensor in) = 0;
  /// Number of bytes that this process has sent so far.
  virtual int64_t bytes_sent() const = 0;
};

/// A Comm of one process.
std::shared_ptr<Comm> alone();
/// Returns the processes that mpirun (or srun) started with this one; alone() if there are none. Throws
/// kUnsupported if there are some and this build has no MPI. Call once per process. Release the Comm before the process
/// ends; otherwise mpirun aborts all processes.
std::shared_ptr<Comm> join_processes();

}  // namespace clearhead
