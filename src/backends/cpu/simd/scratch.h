// Thread-local scratch memory that is kept between calls. It grows when needed, never shrinks, and is aligned for
// vectors.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace clearhead::cpu {

class ThreadScratch {
 public:
  /// Returns `count` floats that belong to this thread: 64-byte aligned, uninitialised, valid until the thread's next
  /// call of the same function.
  static float* floats(int64_t count) { return own<0>(count); }
  /// Separate buffers for keys and values of 16-bit KV pages widened to f32 (page-inl.h).
  static float* widened_keys(int64_t count) { return own<1>(count); }
  static float* widened_values(int64_t count) { return own<2>(count); }
  /// Separate buffers for a head's values as bf16 words of two keys, and for f32 rows of out before they are rounded
  /// (flash_bf16-inl.h).
  static float* value_words(int64_t count) { return own<3>(count); }
  static float* wide_rows(int64_t count) { return own<4>(count); }
  /// A separate buffer for the sums of the cells of a sweep's strip (sweep_plan.h).
  static double* cell_sums(int64_t count) { return reinterpret_cast<double*>(own<5>(2 * count)); }

 private:
  template <int kPlace>
  static float* own(int64_t count) {
    thread_local ThreadScratch memory;
    return memory.at_least(count);
  }
  float* at_least(int64_t count) {
    if (count > size_) {
      memory_.reset(static_cast<float*>(::operator new[](static_cast<size_t>(count) * sizeof(float), kAlign)));
      size_ = count;
    }
    return memory_.get();
  }

  static constexpr std::align_val_t kAlign{64};
  struct Free {
    void operator()(float* memory) const { ::operator delete[](memory, kAlign); }
  };
  std::unique_ptr<float[], Free> memory_;
  int64_t size_ = 0;
};

}  // namespace clearhead::cpu
