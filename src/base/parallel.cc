// parallel_for: the threads of the pool take items by incrementing one atomic counter. MXCSR's DAZ and FTZ are set around
// the bodies. The first exception is rethrown in the caller.
#include "base/parallel.h"

#ifdef __linux__
#include <sched.h>
#endif
#ifdef __SSE2__
#include <immintrin.h>
#endif

#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <mutex>

#include "base/busy.h"
#include "base/pool.h"

namespace clearhead {
namespace {

int available_cores() {
#ifdef __linux__
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
#else
  return 1;
#endif
}

std::atomic<int> thread_count{0};
thread_local bool inside = false;
thread_local CheckWhileBusy* busy = nullptr;
constexpr std::chrono::milliseconds kCheckEvery{50};

// During the lifetime of this object, its thread reads and writes subnormal numbers as zero (MXCSR's DAZ and FTZ).
// Processors that handle them in microcode take some 150 cycles for each vector that contains one, and products of values
// with weights far below their row's largest are often subnormal. Does nothing where there is no such register.
class SubnormalsAreZero {
 public:
#ifdef __SSE2__
  SubnormalsAreZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | _MM_DENORMALS_ZERO_ON | _MM_FLUSH_ZERO_ON); }
  ~SubnormalsAreZero() { _mm_setcsr(before_); }
#else
  SubnormalsAreZero() {}  // not defaulted: the compiler would warn about variables that are never used
#endif
  SubnormalsAreZero(const SubnormalsAreZero&) = delete;
  SubnormalsAreZero& operator=(const SubnormalsAreZero&) = delete;

 private:
#ifdef __SSE2__
  unsigned before_;
#endif
};

}  // namespace

CheckWhileBusy::CheckWhileBusy(std::function<void()> check)
    : check_(std::move(check)), next_(std::chrono::steady_clock::now() + kCheckEvery), outer_(busy) {
  busy = this;
}

CheckWhileBusy::~CheckWhileBusy() { busy = outer_; }

void CheckWhileBusy::ask() {
  if (!busy) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < busy->next_) return;
  busy->check_();
  busy->next_ = std::chrono::steady_clock::now() + kCheckEvery;
}

void set_threads(int count) { thread_count = std::max(1, count); }

int threads() {
  if (inside) return 1;
  const int set = thread_count.load(std::memory_order_relaxed);
  if (set > 0) return set;
  static const int cores = available_cores();
  return cores;
}

bool in_parallel() { return inside; }

void parallel_for(int64_t items, const std::function<void(int64_t, int)>& body) {
  const int count = static_cast<int>(std::min<int64_t>(threads(), items));
  if (count <= 1 || inside) {
    const SubnormalsAreZero here;
    for (int64_t item = 0; item < items; ++item) {
      body(item, 0);
      if (!inside) CheckWhileBusy::ask();  // in a nested loop, the outer loop checks between its items
    }
    return;
  }
  std::atomic<int64_t> next{0};
  std::exception_ptr error;
  std::mutex error_lock;
  const auto take_items = [&](int thread) {
    const SubnormalsAreZero here;
    inside = true;
    try {
      for (int64_t item = next++; item < items; item = next++) {
        body(item, thread);
        CheckWhileBusy::ask();
      }
    } catch (...) {
      const std::lock_guard<std::mutex> hold(error_lock);
      if (!error) error = std::current_exception();
      next = items;
    }
    inside = false;
  };
  run_on_threads(count, std::ref(take_items));
  if (error) std::rethrow_exception(error);
}

void parallel_ranges(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t, int)>& body) {
  if (count <= 0) return;
  const int64_t wanted = std::max<int64_t>(1, std::min<int64_t>(4 * threads(), count / std::max<int64_t>(1, grain)));
  parallel_for(wanted, [&](int64_t item, int thread) { body(count * item / wanted, count * (item + 1) / wanted, thread); });
}

}  // namespace clearhead
