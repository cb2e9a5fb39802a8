// Memory that a thread keeps between calls: grown when needed, never shrunk, aligned for vectors.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace clearhead::cpu {

class ThreadScratch {
 public:
  /// `count` floats of this thread, 64-byte aligned, unset. Valid until the thread's next call.
  static float* floats(int64_t count) {
    thread_local ThreadScratch own;
    if (count > own.size_) {
      own.memory_.reset(static_cast<float*>(::operator new[](static_cast<size_t>(count) * sizeof(float), kAlign)));
      own.size_ = count;
    }
    return own.memory_.get();
  }

 private:
  static constexpr std::align_val_t kAlign{64};
  struct Free {
    void operator()(float* memory) const { ::operator delete[](memory, kAlign); }
  };
  std::unique_ptr<float[], Free> memory_;
  int64_t size_ = 0;
};

}  // namespace clearhead::cpu
