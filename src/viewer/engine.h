// A thread that runs jobs, the shortest kind first. Other threads post jobs to it and wait. The server has three engines: one owns
// the loaded traces and answers requests about them, one runs the model and computes explanations on copies of the traces, and one
// draws PDFs.
//
//   kShort        a row, a tile: runs before any longer job, and between the tasks of a longer job (yield)
//   kLong         an overview, an export
//   kBackground   an answer that a page can wait for (the atlas, the statistics of a head). If a kLong job arrives while it runs,
//                 its token is set: it stops, the kLong job runs, and then the background job is run again
//
// Each job has a stop token that its work checks. A job is cancelled by a later job of the same slot (a higher
// number), and by the thread that waits for it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace clearhead::viewer {

class Job {
 public:
  enum class Kind : uint8_t { kShort, kLong, kBackground };
  Kind kind = Kind::kShort;
  std::string slot{};  ///< empty: no slot
  int64_t number = 0;
  /// Runs on the engine's thread. A kBackground job returns false if it stopped before its end because it was asked to, and
  /// must run again.
  std::function<bool(Job& job)> work{};

  /// The stop token. cancel() sets it permanently. An arriving kLong job sets the token of a running background job, which is cleared
  /// when the background job runs again.
  const std::atomic<bool>* token() const { return &stop_; }
  bool cancelled() const { return cancelled_.load(); }
  void cancel() {
    cancelled_ = true;
    stop_ = true;
  }

 private:
  friend class Engine;
  std::atomic<bool> stop_{false}, cancelled_{false};
};

class Engine {
 public:
  static constexpr size_t kMostWaiting = 256;

  explicit Engine(size_t most_waiting = kMostWaiting);
  ~Engine();  ///< cancels unfinished jobs and waits for them
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Throws kCancelled if `most_waiting` jobs are waiting. The work of a cancelled job still runs, so that it can report the cancellation.
  void post(std::shared_ptr<Job> job);
  /// A longer job calls this on the engine's thread between its tasks. Runs the short jobs that are waiting.
  void yield();
  size_t waiting() const;

 private:
  void loop();
  std::shared_ptr<Job> next(bool only_short);

  const size_t most_waiting_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::list<std::shared_ptr<Job>> queue_;    // waiting, in order of arrival
  std::list<std::shared_ptr<Job>> running_;  // the innermost job is last
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace clearhead::viewer
