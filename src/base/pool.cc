// The pool's protocol: a thread takes a seat by decrementing `seats`, runs the body, increments `left`, and waits for the
// next generation, first spinning for kSpin, then on a futex. Only one region runs at a time: a second caller runs its body
// alone.
#include "base/pool.h"

#include <pthread.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <system_error>
#include <thread>

namespace clearhead {
namespace {

// Regions of a small model follow one another within 5 to 20 µs. A thread that is suspended is away for milliseconds.
constexpr std::chrono::microseconds kSpin{20};
constexpr int kLooksPerClock = 32;

using Word = std::atomic<uint32_t>;

// Returns once `word` is not `old`.
void wait_for_change(const Word& word, uint32_t old) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int look = 0; look < kLooksPerClock; ++look) {
      if (word.load(std::memory_order_acquire) != old) return;
#ifdef __SSE2__
      _mm_pause();
#endif
    }
  } while (std::chrono::steady_clock::now() < end);
  word.wait(old, std::memory_order_acquire);
}

std::atomic<OpenMpParallel> openmp{nullptr};

class Pool {
 public:
  // The pool of this process. It is never destroyed; its threads end with the process. A child of fork() has none of its
  // parent's threads, so it creates a new pool.
  static Pool& instance() {
    static std::atomic<Pool*> pool{nullptr};
    static const int registered = ::pthread_atfork(nullptr, nullptr, [] { pool.store(nullptr); });
    (void)registered;
    Pool* there = pool.load(std::memory_order_acquire);
    if (there) return *there;
    auto* fresh = new Pool;
    if (pool.compare_exchange_strong(there, fresh)) return *fresh;
    delete fresh;
    return *there;
  }

  void run(int count, const std::function<void(int)>& body) {
    if (count <= 1 || busy_.exchange(true, std::memory_order_acquire)) return body(0);
    have(count - 1);
    body_ = &body;
    left_.store(0, std::memory_order_relaxed);
    const auto seats = static_cast<uint32_t>(std::min(count - 1, threads_));
    seats_.store(seats, std::memory_order_release);
    generation_.fetch_add(1, std::memory_order_seq_cst);
    generation_.notify_all();
    body(0);
    const uint32_t taken = seats - seats_.exchange(0, std::memory_order_acq_rel);
    for (uint32_t left = left_.load(std::memory_order_acquire); left != taken; left = left_.load(std::memory_order_acquire)) {
      wait_for_change(left_, left);
    }
    busy_.store(false, std::memory_order_release);
  }

 private:
  void have(int wanted) {
    for (; threads_ < wanted; ++threads_) {
      try {
        std::thread([this] { work(); }).detach();
      } catch (const std::system_error&) {
        return;  // the system refuses more threads: the existing ones do all the work
      }
    }
  }

  void work() {
    for (uint32_t seen = generation_.load(std::memory_order_acquire);;) {
      if (const uint32_t seat = take_seat(); seat > 0) {
        (*body_)(static_cast<int>(seat));
        left_.fetch_add(1, std::memory_order_acq_rel);
        left_.notify_one();
      }
      wait_for_change(generation_, seen);
      seen = generation_.load(std::memory_order_acquire);
    }
  }

  // The number of the seat taken, from 1 on; 0: no seat is free.
  uint32_t take_seat() {
    uint32_t free = seats_.load(std::memory_order_acquire);
    while (free > 0 && !seats_.compare_exchange_weak(free, free - 1, std::memory_order_acq_rel)) {
    }
    return free;
  }

  std::atomic<bool> busy_{false};
  int threads_ = 0;
  const std::function<void(int)>* body_ = nullptr;
  alignas(64) Word generation_{0};
  alignas(64) Word seats_{0};
  alignas(64) Word left_{0};
};

}  // namespace

void use_openmp(OpenMpParallel parallel) {
  // OpenMP's threads exist only in the parent; a region of the child would wait for them.
  static const int registered = ::pthread_atfork(nullptr, nullptr, [] { openmp.store(nullptr); });
  (void)registered;
  openmp.store(parallel);
}

void run_on_threads(int count, const std::function<void(int)>& body) {
  const OpenMpParallel parallel = openmp.load(std::memory_order_relaxed);
  if (parallel == nullptr || count <= 1) return Pool::instance().run(count, body);
  struct Region {
    const std::function<void(int)>& body;
    std::thread::id caller = std::this_thread::get_id();
    std::atomic<int> arrived{0};
  } region{body};
  const auto arrive = [](void* data) {
    Region& of = *static_cast<Region*>(data);
    of.body(std::this_thread::get_id() == of.caller ? 0 : ++of.arrived);
  };
  parallel(arrive, &region, static_cast<unsigned>(count), 0);
}

}  // namespace clearhead
