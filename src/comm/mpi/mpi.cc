// A dedicated thread makes all MPI calls, in the order of the requests. So sums proceed while the engine computes, even if
// the MPI library makes progress only inside its calls, and the library need not be thread-safe.
//
// An all-reduce sends each rank its share of the values of all other ranks, adds them there in a tree over the ranks, and
// sends the summed shares to all. Each of K processes sends 2·(K − 1)/K of the values, which is the minimum.
#include "comm/mpi/mpi.h"

#include <mpi.h>

#include <atomic>
#include <climits>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead {
namespace {

void check(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  fail(ErrorCode::kIo, "{}: {}", what, text);
}

int count_of(int64_t count) {
  if (count > INT_MAX) fail(ErrorCode::kUnsupported, "a message of {} numbers; expected at most {}", count, INT_MAX);
  return static_cast<int>(count);
}

class MpiProcesses : public Comm {
 public:
  MpiProcesses() : worker_([this] { work(); }) {
    run([this] {
      int level = 0;
      check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level), "MPI_Init_thread");
      MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
      MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
      MPI_Comm_size(MPI_COMM_WORLD, &size_);
    });
    wait();
  }
  ~MpiProcesses() override {
    run([] { MPI_Finalize(); });
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    worker_.join();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int64_t bytes_sent() const override { return sent_; }

  void sum(std::vector<Tensor> values) override {
    if (size_ > 1) run([this, values = std::move(values)]() mutable { add_up(values); });
  }

  std::vector<std::vector<double>> gather(const std::vector<double>& mine) override {
    std::vector<std::vector<double>> out(static_cast<size_t>(size_));
    run([&] {
      const int count = count_of(static_cast<int64_t>(mine.size()));
      std::vector<int> counts(out.size()), begins(out.size());
      check(MPI_Allgather(&count, 1, MPI_INT, counts.data(), 1, MPI_INT, MPI_COMM_WORLD), "MPI_Allgather");
      int total = 0;
      for (size_t at = 0; at < out.size(); ++at) {
        begins[at] = total;
        total += counts[at];
      }
      std::vector<double> all(static_cast<size_t>(total));
      check(MPI_Allgatherv(mine.data(), count, MPI_DOUBLE, all.data(), counts.data(), begins.data(), MPI_DOUBLE, MPI_COMM_WORLD),
            "MPI_Allgatherv");
      for (size_t at = 0; at < out.size(); ++at) out[at].assign(all.begin() + begins[at], all.begin() + begins[at] + counts[at]);
      sent_ += static_cast<int64_t>(mine.size() * sizeof(double)) * (size_ - 1);
    });
    wait();
    return out;
  }

  void shift(const Tensor& out, Tensor in) override {
    run([this, out, in]() mutable {
      const int next = (rank_ + 1) % size_, previous = (rank_ + size_ - 1) % size_;
      check(MPI_Sendrecv(out.data<float>(), count_of(out.numel()), MPI_FLOAT, next, 0, in.mutable_data<float>(), count_of(in.numel()),
                         MPI_FLOAT, previous, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE),
            "MPI_Sendrecv");
      sent_ += static_cast<int64_t>(out.bytes());
    });
  }

  void wait() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return jobs_.empty() && !busy_; });
    if (problem_) std::rethrow_exception(std::exchange(problem_, nullptr));
  }

 private:
  void run(std::function<void()> job) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    changed_.notify_all();
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return ends_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      const std::function<void()> job = std::move(jobs_.front());
      jobs_.pop_front();
      busy_ = true;
      lock.unlock();
      std::exception_ptr problem;
      try {
        job();
      } catch (...) {
        problem = std::current_exception();
      }
      lock.lock();
      if (problem && !problem_) problem_ = problem;
      busy_ = false;
      changed_.notify_all();
    }
  }

  void add_up(std::vector<Tensor>& values) {
    int64_t total = 0;
    for (const Tensor& t : values) total += t.numel();
    count_of(total);
    const auto ranks = static_cast<size_t>(size_);
    std::vector<float> mine(static_cast<size_t>(total));
    float* to = mine.data();
    for (const Tensor& t : values) to = static_cast<float*>(std::memcpy(to, t.raw(), t.bytes())) + t.numel();
    std::vector<int> counts(ranks), begins(ranks);
    for (size_t at = 0; at < ranks; ++at) {
      begins[at] = static_cast<int>(total * static_cast<int64_t>(at) / size_);
      counts[at] = static_cast<int>(total * static_cast<int64_t>(at + 1) / size_) - begins[at];
    }
    const int share = counts[static_cast<size_t>(rank_)];
    std::vector<int> pieces(ranks, share), places(ranks);
    for (size_t at = 0; at < ranks; ++at) places[at] = static_cast<int>(at) * share;
    std::vector<float> received(static_cast<size_t>(share) * ranks);
    check(MPI_Alltoallv(mine.data(), counts.data(), begins.data(), MPI_FLOAT, received.data(), pieces.data(), places.data(), MPI_FLOAT,
                        MPI_COMM_WORLD),
          "MPI_Alltoallv");
    const auto piece = [&](int64_t of) { return received.data() + of * share; };
    std::vector<int64_t> kept(64);  // the piece that holds the sum of a level
    for (int64_t at = 0; at < size_; ++at) {
      const auto merge = [&](int level) {
        const float* from = piece(kept[static_cast<size_t>(level)]);
        for (int64_t i = 0; i < share; ++i) piece(at)[i] += from[i];
      };
      tree_sum(at, size_, merge, [&](int level) { kept[static_cast<size_t>(level)] = at; });
    }
    check(MPI_Allgatherv(piece(size_ - 1), share, MPI_FLOAT, mine.data(), counts.data(), begins.data(), MPI_FLOAT, MPI_COMM_WORLD),
          "MPI_Allgatherv");
    const float* from = mine.data();
    for (Tensor& t : values) {
      std::memcpy(t.mutable_raw(), from, t.bytes());
      from += t.numel();
    }
    sent_ += (total - share + static_cast<int64_t>(share) * (size_ - 1)) * static_cast<int64_t>(sizeof(float));
  }

  int rank_ = 0, size_ = 1;
  std::atomic<int64_t> sent_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  std::exception_ptr problem_;
  bool busy_ = false, ends_ = false;
  std::thread worker_;  // declared last: it uses the other members
};

}  // namespace

std::shared_ptr<Comm> mpi_processes() { return std::make_shared<MpiProcesses>(); }

}  // namespace clearhead
