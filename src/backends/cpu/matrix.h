// The matrix registers of a processor (Intel's AMX): whether there are any, and a thread's use of them.
#pragma once

#include <cstdint>

namespace clearhead::cpu {

/// This machine multiplies matrices of bf16 (TDPBF16PS), and its system lets this process do so. Asks the system once.
bool has_bf16_matrices();

namespace detail {
void set_matrices_to(int64_t step);
inline thread_local int64_t matrices_step = 0;  // 0: the registers are not in use
}  // namespace detail

/// This thread's registers become 16 rows of 64 bytes, number 6 with rows of 4·step bytes, 7 with `step` of them (matrix-inl.h), unless they are so already. They are the
/// thread's until release_matrices().
inline void set_matrices(int64_t step) {
  if (detail::matrices_step != step) detail::set_matrices_to(step);
}
void release_matrices();

/// Lets go of what an item takes, however it ends: others on this thread (oneDNN) set the registers for themselves.
struct MatricesOfAnItem {
  MatricesOfAnItem() = default;
  MatricesOfAnItem(const MatricesOfAnItem&) = delete;
  MatricesOfAnItem& operator=(const MatricesOfAnItem&) = delete;
  ~MatricesOfAnItem() { release_matrices(); }
};

}  // namespace clearhead::cpu
