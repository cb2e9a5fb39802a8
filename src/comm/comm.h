// Processes that work on one thing, numbered from 0: what they say to each other.
//
//   std::shared_ptr<Comm> comm = join_processes();     // those that mpirun started together; alone otherwise
//   comm->sum({gradient});  …;  comm->wait();          // added while this process goes on
//
// All processes make the same calls in the same order. Sums are added in an order that follows from the ranks alone (tree_sum), so their bits do not depend on
// who was first.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "clearhead/tensor.h"

namespace clearhead {

/// Adds things that come one after the other in the order of a binary tree over their numbers: ((0 1)(2 3))((4 5)(6 7)). Parts of a tree whose numbers begin at a
/// multiple of a power of two, as many of them, give the same bits wherever they are added up.
/// For number `at` of `count`: calls merge(level) for each earlier sum that is to be added to it, then, unless it is the last, keep(level).
void tree_sum(int64_t at, int64_t count, const std::function<void(int level)>& merge, const std::function<void(int level)>& keep);

class Comm {
 public:
  virtual ~Comm() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Begins to make each tensor (f32, contiguous) the sum of what the processes hold of it. They belong to the sum until wait() returns.
  virtual void sum(std::vector<Tensor> values) = 0;
  virtual void wait() = 0;
  /// What each process gave, by rank.
  virtual std::vector<std::vector<double>> gather(const std::vector<double>& mine) = 0;
  /// Begins a turn of the ring: `out` goes to the next rank (the last one's to the first), `in` is what the previous one sent; f32, contiguous, of one shape
  /// everywhere. Both belong to it until wait() returns.
  virtual void shift(const Tensor& out, Tensor in) = 0;
  /// Sent by this process so far.
  virtual int64_t bytes_sent() const = 0;
};

/// One process.
std::shared_ptr<Comm> alone();
/// The processes that mpirun (or srun) started with this one, or alone(). Throws kUnsupported where there are such processes and this build has no MPI.
/// Once a process. A process that ends without having let go of it ends all of them.
std::shared_ptr<Comm> join_processes();

}  // namespace clearhead
