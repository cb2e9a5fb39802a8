// Run by mpirun: ring attention over several processes against attention in one process over the
// whole sequence. Compares out, row statistics and gradients.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "clearhead/error.h"
#include "random_tensor.h"
#include "tolerance.h"
#include "train/ring_attention.h"

namespace clearhead {
namespace {

double distance(const Tensor& a, const Tensor& b) {
  const Tensor x = a.contiguous(), y = b.contiguous();
  double most = a.shape() == b.shape() ? 0 : 1e30;
  for (int64_t i = 0; i < std::min(x.numel(), y.numel()); ++i) {
    const double apart = std::abs(static_cast<double>(x.data<float>()[i]) - static_cast<double>(y.data<float>()[i]));
    most = std::max(most, std::isfinite(apart) ? apart : 1e30);
  }
  return most;
}

// The largest difference from the result of one process.
double apart(Comm& comm, const AttentionSpec& spec, int64_t length) {
  const int64_t whole = length * comm.size();
  const Tensor q = random_tensor({2, 4, whole, 24}, 1), k = random_tensor({2, 2, whole, 24}, 2), v = random_tensor({2, 2, whole, 17}, 3),
               d_out = random_tensor({2, 4, whole, 17}, 4);
  const Attended expected = attend(q, k, v, spec);
  const AttendGradients gradients = attend_gradients(expected.record, v, expected.out, d_out);
  const auto mine = [&](const Tensor& t) { return t.slice(2, comm.rank() * length, (comm.rank() + 1) * length); };
  const RingAttended found = ring_attend(comm, mine(q), mine(k), mine(v), spec);
  const AttendGradients ring = ring_attend_gradients(comm, mine(q), mine(k), mine(v), spec, found, mine(d_out));
  double most =
      std::max(distance(found.out, mine(expected.out)), distance(log_sum_exp(found.rows), mine(log_sum_exp(expected.record.rows))));
  for (const auto& [a, b] : {std::pair{ring.q, gradients.q}, std::pair{ring.k, gradients.k}, std::pair{ring.v, gradients.v}})
    most = std::max(most, distance(a, mine(b)));
  for (const std::vector<double>& other : comm.gather({most})) most = std::max(most, other.front());
  return most;
}

int check_all(Comm& comm) {
  struct Case {
    const char* name;
    AttentionSpec spec;
    int64_t length;
  };
  const Case cases[] = {{"full", {}, 37},
                        {"causal", {.topology = causal()}, 64},
                        {"causal, of 1 key each", {.topology = causal()}, 1},
                        {"window over three stretches", {.topology = window(50, 11)}, 20},
                        {"causal window within one", {.topology = causal(6)}, 40},
                        {"soft-cap, scale", {.score = Dot{.scale = 0.7F}, .terms = {SoftCap{2}}, .topology = causal(90)}, 33}};
  int failed = 0;
  for (const Case& one : cases) {
    const double most = apart(comm, one.spec, one.length);
    failed += most > tolerance::kRing;
    if (comm.rank() == 0) std::printf("%s: %.1e apart%s\n", one.name, most, most > tolerance::kRing ? "  FAILED" : "");
  }
  try {
    ring_attend(comm, Tensor::zeros({1, 1, 2, 4}), Tensor::zeros({1, 1, 2, 4}), Tensor::zeros({1, 1, 2, 4}), {.normaliser = Sparsemax{}});
    ++failed;
  } catch (const Error& error) {
    failed += error.code() != ErrorCode::kUnsupported;
  }
  return failed;
}

}  // namespace
}  // namespace clearhead

int main() {
  const std::shared_ptr<clearhead::Comm> comm = clearhead::join_processes();
  try {
    return clearhead::check_all(*comm) == 0 ? 0 : 1;
  } catch (const clearhead::Error& error) {
    std::printf("process %d: %s\n", comm->rank(), error.what());
    std::fflush(stdout);
    std::_Exit(1);  // the other processes may be waiting
  }
}
