// The job queue: the shortest kind first, then in order of arrival. An arriving long job interrupts
// a background job. A job that calls yield() lets the waiting short jobs run before it continues.
#include "viewer/engine.h"

#include <algorithm>

#include "base/format.h"

namespace clearhead::viewer {

Engine::Engine(size_t most_waiting) : most_waiting_(most_waiting), thread_([this] { loop(); }) {}

Engine::~Engine() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    for (const auto& job : queue_) job->cancel();
    for (const auto& job : running_) job->cancel();
  }
  changed_.notify_all();
  thread_.join();
}

void Engine::post(std::shared_ptr<Job> job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_ || queue_.size() >= most_waiting_) {
      fail(ErrorCode::kCancelled, "the server is busy: {} requests of this kind are waiting; try again when one is answered",
           queue_.size());
    }
    for (auto* jobs : {&queue_, &running_}) {
      for (const auto& other : *jobs) {
        if (!job->slot.empty() && other->slot == job->slot && other->number < job->number) other->cancel();
      }
    }
    for (const auto& other : running_) {
      if (other->kind == Job::Kind::kBackground && job->kind == Job::Kind::kLong) other->stop_ = true;  // it stops and runs again later
    }
    queue_.push_back(std::move(job));
  }
  changed_.notify_all();
}

size_t Engine::waiting() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return queue_.size();
}

// Removes the job to run next from the queue: the shortest kind first, then in order of arrival.
std::shared_ptr<Job> Engine::next(bool only_short) {
  auto best = queue_.end();
  for (auto at = queue_.begin(); at != queue_.end(); ++at) {
    if (only_short && (*at)->kind != Job::Kind::kShort) continue;
    if (best == queue_.end() || (*at)->kind < (*best)->kind) best = at;
  }
  if (best == queue_.end()) return nullptr;
  std::shared_ptr<Job> job = *best;
  queue_.erase(best);
  running_.push_back(job);
  return job;
}

void Engine::yield() {
  for (;;) {
    std::shared_ptr<Job> job;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      job = next(true);
    }
    if (!job) return;
    job->work(*job);
    const std::lock_guard<std::mutex> lock(mutex_);
    running_.remove(job);
  }
}

void Engine::loop() {
  for (;;) {
    std::shared_ptr<Job> job;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      job = next(false);
      if (!job) return;  // stopping, and nothing is left
      if (!job->cancelled_) job->stop_ = false;
    }
    const bool finished = job->work(*job);
    const std::lock_guard<std::mutex> lock(mutex_);
    running_.remove(job);
    if (!finished && !job->cancelled_ && !stopping_) queue_.push_back(job);
  }
}

}  // namespace clearhead::viewer
