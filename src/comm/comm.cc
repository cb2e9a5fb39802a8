// A Comm of one process, and tree_sum. The order of additions is that of a binary counter: item `at` is merged with one
// earlier sum for every trailing 1 of its binary number, and the last item with all sums that are left.
#include "comm/comm.h"

#include <cstdlib>
#include <cstring>

#include "base/format.h"
#include "clearhead/error.h"
#include "comm/mpi/mpi.h"

namespace clearhead {
namespace {

class Alone : public Comm {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void sum(std::vector<Tensor>) override {}
  void wait() override {}
  std::vector<std::vector<double>> gather(const std::vector<double>& mine) override { return {mine}; }
  void shift(const Tensor& out, Tensor in) override { std::memcpy(in.mutable_raw(), out.raw(), out.bytes()); }
  int64_t bytes_sent() const override { return 0; }
};

}  // namespace

void tree_sum(int64_t at, int64_t count, const std::function<void(int level)>& merge, const std::function<void(int level)>& keep) {
  const bool is_last = at + 1 == count;
  int level = 0;
  for (; at >> level != 0; ++level) {
    if ((at >> level & 1) != 0) {
      merge(level);
    } else if (!is_last) {
      break;
    }
  }
  if (!is_last) keep(level);
}

std::shared_ptr<Comm> alone() { return std::make_shared<Alone>(); }

std::shared_ptr<Comm> join_processes() {
  bool started_together = false;
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"}) started_together = started_together || std::getenv(name);
  if (!started_together) return alone();
#ifdef CLEARHEAD_WITH_MPI
  return mpi_processes();
#else
  fail(ErrorCode::kUnsupported,
       "this process was started by mpirun, but this build does not support MPI; install MPI (Debian: libopenmpi-dev) and build again");
#endif
}

}  // namespace clearhead
