// One thread owns compute and the loaded traces; everybody else posts jobs to it and waits.
//
//   kShort     a row, a tile: runs before anything longer, and between the tasks of a longer job (yield)
//   kLong      an overview, an export
//   kSurvey    what a page can wait for (the atlas, a head's statistics): when another job is waiting its token is set, it stops, the other one runs, and it is taken up again
//
// A job carries a token that its look watches. A job of the same slot with a higher number cancels it, and so does whoever waits for it.
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

namespace clearhead {

class Job {
 public:
  enum class Kind : uint8_t { kShort, kLong, kSurvey };
  Kind kind = Kind::kShort;
  std::string slot{};  ///< empty: none
  int64_t number = 0;
  /// Runs on the engine's thread. For kSurvey: false says that it stopped half-way because it was asked to, and wants to be run again.
  std::function<bool(Job& job)> work{};

  /// What a look watches: set by cancel() for good, and for a survey while others wait.
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
  Engine();
  ~Engine();  ///< cancels what is unfinished and waits for it
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Throws kBudget when too many jobs are waiting. A cancelled job's work still runs, to say so.
  void post(std::shared_ptr<Job> job);
  /// Called by a longer job on the engine's thread, between its tasks: runs the short jobs that are waiting.
  void yield();
  size_t waiting() const;

  static constexpr size_t kMostWaiting = 256;

 private:
  void loop();
  std::shared_ptr<Job> next(bool only_short);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::list<std::shared_ptr<Job>> queue_;    // waiting, in the order they came
  std::list<std::shared_ptr<Job>> running_;  // the innermost last
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace clearhead
